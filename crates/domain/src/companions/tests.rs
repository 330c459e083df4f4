use super::*;
use crate::{
    Relation,
    facts::{Module, Projector, Tokenizer},
    model::testing::weights,
};
use std::path::Path;

type One = (Kin, Part);

fn kin(id: &str, kind: Kind) -> Kin {
    Kin { id: id.into(), name: id.into(), kind: Some(kind), state: State::Ok, ..Kin::default() }
}

fn keyed(kin: Kin, keys: &[&str]) -> Kin {
    Kin { keys: keys.iter().map(|key| (*key).to_owned()).collect(), ..kin }
}

fn llm() -> One {
    let tokenizer = Tokenizer {
        kind: Some("gpt2".into()),
        pre: Some("qwen2".into()),
        bos: None,
        eos: Some(1),
        tokens: Some("0123456789abcdef".into()),
    };
    let part = Part {
        architecture: Some("llama".into()),
        width: Some(4096),
        vocabulary: Some(151_936),
        parameters: Some(8_000_000_000),
        tokenizer: Some(tokenizer),
        dirs: ["/m".to_owned()].into(),
        ..Part::default()
    };
    (keyed(kin("model", Kind::Llm), &["acme/tinygguf"]), part)
}

fn projector(id: &str, kind: &str, width: u64, keys: &[&str]) -> One {
    let projector = Some(Projector { kind: Some(kind.into()), width: Some(width) });
    let part = Part { projector, ..Part::default() };
    (keyed(kin(id, Kind::VisionProjector), keys), part)
}

fn all(model: &One, facts: Option<&Facts>, others: &[One]) -> Vec<Companion> {
    let kins: Vec<Kin> = [model].into_iter().chain(others).map(|(kin, _)| kin.clone()).collect();
    let parts: Vec<_> = others.iter().map(|(kin, part)| (kin.id.clone(), part.clone())).collect();
    companions(&Family::new(&kins), Asked { kin: &model.0, part: &model.1, facts }, &parts, &[])
}

fn found(model: &One, facts: Option<&Facts>, other: One) -> Option<(String, Confidence)> {
    all(model, facts, &[other]).into_iter().next().map(|one| (one.because, one.confidence))
}

#[test]
fn a_projector_goes_by_its_width_and_not_by_its_name() {
    let of = |other| found(&llm(), None, other);
    let because = "projects to width 4096 = embedding length 4096, projector mlp; same repository";
    assert_eq!(
        of(projector("mmproj", "mlp", 4096, &["acme/tinygguf"])),
        Some((because.to_owned(), Confidence::Inferred))
    );
    assert_eq!(of(projector("mmproj", "mlp", 5120, &["acme/tinygguf"])), None);
    assert_eq!(of(projector("mmproj-model", "mlp", 4096, &[])), None, "many models are that wide");
    assert_eq!(of(projector("mmproj", "qwen2vl_merger", 4096, &["acme/tinygguf"])), None);
    let qwen = Part { architecture: Some("qwen2vl".into()), ..llm().1 };
    let made = all(&(llm().0, qwen), None, &[projector("mmproj", "qwen2vl_merger", 4096, &[])]);
    assert_eq!(made[0].basis, [Basis::Width, Basis::Projector], "made for it alone");
    let (kin, part) = projector("mmproj", "mlp", 4096, &[]);
    let beside = all(&llm(), None, &[(kin, Part { dirs: ["/m".to_owned()].into(), ..part })]);
    assert_eq!(beside[0].basis, [Basis::Width, Basis::Folder]);
}

#[test]
fn of_projectors_elsewhere_only_the_only_one_that_is_meant_is_launched_with() {
    let chosen = |others: &[One]| {
        let found = all(&llm(), None, others);
        projector_elsewhere(&found).map(|one| one.map(|one| one.name.clone()))
    };
    let keys = &["acme/tinygguf"][..];
    assert_eq!(chosen(&[]), Ok(None));
    let (kin, part) = projector("beside", "mlp", 4096, &[]);
    let beside = (kin, Part { dirs: ["/m".to_owned()].into(), ..part });
    assert_eq!(chosen(std::slice::from_ref(&beside)), Ok(None), "a folder says little");
    let one = projector("one", "mlp", 4096, keys);
    let wrong = projector("wrong", "mlp", 5120, keys);
    assert_eq!(chosen(&[beside, one.clone(), wrong]), Ok(Some("one".to_owned())));
    let two = projector("model-two", "mlp", 4096, keys);
    let why = "no projector is given: model-two, one fit alike; put one beside the model";
    assert_eq!(chosen(&[one, two]), Err(why.to_owned()), "the one with the model's name in it comes first");
}

#[test]
fn what_lies_with_a_model_and_cannot_serve_it_is_left_out() {
    let model = Facts { embedding_length: Some(4096), ..Facts::default() };
    let verdict = |kind, width| Verdict {
        facts: Some(Facts {
            kind: Some(kind),
            projector: Some(Projector { kind: None, width }),
            ..Facts::default()
        }),
        ..Verdict::new(None, State::Ok, "")
    };
    let of = |verdict: &Verdict| left_out("mmproj.gguf", verdict, &model);
    assert_eq!(of(&verdict(Kind::VisionProjector, Some(4096))), None);
    assert_eq!(of(&verdict(Kind::VisionProjector, None)), None, "unknown is no reason");
    assert_eq!(
        of(&verdict(Kind::VisionProjector, Some(5120))).unwrap(),
        "mmproj.gguf is left out: it projects to 5120, and the model is 4096 wide"
    );
    assert_eq!(
        of(&verdict(Kind::Llm, None)).unwrap(),
        "mmproj.gguf is left out: it is no projector but of kind llm"
    );
    assert_eq!(
        of(&Verdict::new(None, State::Corrupt, "it ends early")).unwrap(),
        "mmproj.gguf is left out: it is corrupt: it ends early"
    );
}

#[test]
fn of_several_beside_a_model_the_name_settles_which_is_given() {
    let file = |name: &str, role| File { role, ..weights(&format!("/m/{name}")) };
    let mut files = vec![
        file("mmproj-other.gguf", Role::Companion),
        file("seer-2-of-2.gguf", Role::Weights),
        file("mmproj-seer.gguf", Role::Companion),
        file("seer-1-of-2.gguf", Role::Weights),
    ];
    let note = likest_first("seer-F16", &mut files);
    let names: Vec<&str> = files.iter().map(|file| file.path.text()).collect();
    let expected =
        ["/m/seer-2-of-2.gguf", "/m/seer-1-of-2.gguf", "/m/mmproj-seer.gguf", "/m/mmproj-other.gguf"];
    assert_eq!(names, expected, "weights stay in their order");
    assert_eq!(note.unwrap(), "of 2 projectors beside it that may fit, mmproj-seer.gguf is given");
    assert_eq!(likest_first("seer-F16", &mut files[..3]), None);
}

fn lora(input: u64, output: u64, bases: &[&str]) -> One {
    let module =
        Module { name: "model.layers.*.self_attn.q_proj".into(), input: Some(input), output: Some(output) };
    let base =
        |name: &&str| Ancestor::on_hub(Relation::Adapter, name, Confidence::Claimed, "adapter_config.json");
    let part = Part { modules: vec![module], dirs: ["/m".to_owned()].into(), ..Part::default() };
    (Kin { lineage: bases.iter().map(base).collect(), ..kin("lora", Kind::Lora) }, part)
}

#[test]
fn an_adapter_goes_by_shapes_and_by_what_it_was_made_from() {
    let group = TensorGroup {
        name: "blk.*.attn_q.weight".into(),
        kind: "Q4_K".into(),
        dims: vec![4096, 4096],
        size: 1,
        layers: vec![(0, 32)],
    };
    let facts = Facts { tensors: vec![group], ..Facts::default() };
    let mut model = llm();
    model.1.dirs.clear();
    model.0.lineage =
        vec![Ancestor::on_hub(Relation::Quantized, "acme/Tiny", Confidence::Claimed, "README.md")];
    let of = |facts, lora| found(&model, facts, lora);
    let because = "1 of 1 adapted matrices have the model's shapes; made from acme/Tiny";
    assert_eq!(
        of(Some(&facts), lora(4096, 4096, &["acme/Tiny"])),
        Some((because.to_owned(), Confidence::Claimed))
    );
    assert_eq!(of(Some(&facts), lora(4096, 1024, &["acme/Tiny"])), None, "another shape");
    assert_eq!(of(Some(&facts), lora(4096, 4096, &[])), None, "PEFT does not state an architecture");
    assert!(of(None, lora(4096, 4096, &["acme/Tiny"])).is_some(), "by the width alone");
    assert_eq!(of(None, lora(2048, 4096, &["acme/Tiny"])), None);
    let (kin, part) = lora(4096, 4096, &[]);
    let stated = |architecture: &str| Part { architecture: Some(architecture.into()), ..part.clone() };
    assert_eq!(of(Some(&facts), (kin.clone(), stated("llama"))).map(|one| one.1), Some(Confidence::Inferred));
    assert_eq!(of(Some(&facts), (kin, stated("qwen3"))), None);
    model.1.dirs = ["/m".to_owned()].into();
    assert!(found(&model, Some(&facts), lora(4096, 4096, &[])).is_some(), "in the same folder");
    let anothers = lora(4096, 4096, &["acme/Other"]);
    assert_eq!(found(&model, Some(&facts), anothers), None, "another one's, wherever it lies");
}

#[test]
fn a_lora_goes_with_the_very_checkpoint_that_it_was_trained_on() {
    let hash = "ab".repeat(32);
    let family = |one: One| (one.0, Part { family: Some("sdxl".into()), ..one.1 });
    let checkpoint = Kin { sha256: Some(hash.clone()), ..kin("c", Kind::Checkpoint) };
    let mut lora = family(lora(1, 1, &["sd_xl_base_1.0.safetensors"]));
    lora.0.lineage[0].sha256 = Some(hash);
    let checkpoint = family((checkpoint, Part::default()));
    let found = all(&checkpoint, None, &[lora]);
    assert_eq!(found[0].basis, [Basis::Family, Basis::Lineage]);
}

#[test]
fn a_draft_reads_the_same_tokens_and_is_much_smaller() {
    let part = llm().1;
    let draft = Part { parameters: Some(600_000_000), dirs: BTreeSet::new(), ..part.clone() };
    let because = "the same 151936 tokens, and 13 times smaller";
    let of = |part: &Part| found(&llm(), None, (kin("d", Kind::Llm), part.clone()));
    assert_eq!(of(&draft), Some((because.to_owned(), Confidence::Inferred)));
    let tokens = |tokens: Option<&str>| {
        let tokenizer = draft.tokenizer.clone().unwrap();
        Part {
            tokenizer: Some(Tokenizer { tokens: tokens.map(str::to_owned), ..tokenizer }),
            ..draft.clone()
        }
    };
    for other in [
        tokens(Some("fedcba9876543210")),
        tokens(None),
        Part { vocabulary: Some(151_935), ..draft.clone() },
        Part { parameters: Some(4_000_000_000), ..draft.clone() },
        Part { parameters: Some(0), ..draft.clone() },
        Part { tokenizer: None, ..draft.clone() },
    ] {
        assert_eq!(of(&other), None, "{other:?}");
    }
    let experts = (llm().0, Part { active_parameters: Some(1_000_000_000), ..part });
    let slow = (kin("d", Kind::Llm), draft.clone());
    assert_eq!(found(&experts, None, slow), None, "one of few working parameters is no slower itself");
    let broken = (Kin { state: State::Corrupt, ..kin("d", Kind::Llm) }, draft);
    assert_eq!(found(&llm(), None, broken), None);
}

#[test]
fn image_parts_go_by_their_family_and_none_crowds_out_the_others() {
    let of = |id: &str, kind, family: &str| {
        (kin(id, kind), Part { family: Some(family.into()), ..Part::default() })
    };
    let checkpoint = of("c", Kind::Checkpoint, "sdxl");
    assert!(found(&checkpoint, None, of("x", Kind::Lora, "sdxl")).is_some());
    assert_eq!(found(&checkpoint, None, of("x", Kind::Lora, "sd15")), None);
    assert_eq!(found(&checkpoint, None, (kin("x", Kind::Vae), Part::default())), None);
    let mut many: Vec<One> = (0..500).map(|no| of(&format!("l{no}"), Kind::Lora, "sdxl")).collect();
    many.push(of("vae", Kind::Vae, "sdxl"));
    let found = all(&checkpoint, None, &many);
    assert_eq!((found.len(), found[16].name.as_str()), (17, "vae"));
}

#[test]
fn a_file_beside_the_model_is_measured_too() {
    let facts = |width| Facts {
        kind: Some(Kind::VisionProjector),
        projector: Some(Projector { kind: Some("mlp".into()), width }),
        ..Facts::default()
    };
    let path = WirePath::from(Path::new("/m/mmproj.gguf"));
    let (kin, part) = llm();
    let kins = [kin.clone()];
    let of = |width| {
        let asked = Asked { kin: &kin, part: &part, facts: None };
        companions(&Family::new(&kins), asked, &[], &[(path.clone(), facts(width))])
    };
    let [one] = &of(Some(4096))[..] else { panic!() };
    assert_eq!(
        (one.model_id.as_ref(), one.path.as_ref(), one.name.as_str()),
        (None, Some(&path), "mmproj.gguf")
    );
    assert_eq!(of(Some(5120)), []);
    assert_eq!(of(None)[0].because, "whether the widths fit is not known; held with it");
}
