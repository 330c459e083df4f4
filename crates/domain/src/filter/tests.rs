use super::*;
use crate::model::testing::{location, weights};
use crate::plan::{Fit, How};
use crate::{App, Location, Safety, Source, SourceKind, State, Verification};
use crate::{Confidence, Format, Kind};

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn model() -> Model {
    let source = Source {
        kind: Some(SourceKind::HuggingFace),
        repo: Some("Qwen/Qwen3-8B-GGUF".into()),
        url: None,
        confidence: Confidence::Recorded,
        evidence: Vec::new(),
    };
    let files = vec![weights("/mnt/Big disk/hub/Qwen3-8B.gguf")];
    let location = Location {
        source: Some(source),
        owner: Some("anna:users".into()),
        ..location(App::HuggingFace, "Qwen/Qwen3-8B-GGUF", files)
    };
    Model {
        license_spdx: None,
        license_class: None,
        lineage: Vec::new(),
        origin: None,
        id: "m1".into(),
        name: "Qwen3-8B-Q4_K_M".into(),
        format: Some(Format::Gguf),
        kind: Some(Kind::Llm),
        architecture: Some("qwen3".into()),
        family: None,
        quant: Some("Q4_K_M".into()),
        bits_per_weight: Some(4.9),
        parameters: Some(8_190_735_360),
        active_parameters: None,
        context_length: Some(40_960),
        size: 5 << 30,
        disk_size: 5 << 30,
        state: State::Ok,
        reason: None,
        warnings: Vec::new(),
        safety: Some(Safety::TensorsOnly),
        sha256: None,
        verification: Verification::Verified,
        license: None,
        base_models: vec!["Qwen/Qwen3-8B".into()],
        capabilities: vec!["chat".into(), "tools".into()],
        locations: vec![location],
        duplicate_group: Some("g".into()),
        tags: vec!["Daily".into()],
        note: None,
        pinned: false,
        last_used: Some("2026-11-12T12:00:00Z".parse().unwrap()),
        aliases: Vec::new(),
        first_seen: Some("2026-10-22T12:00:00Z".parse().unwrap()),
        progress: None,
        fits: None,
    }
}

#[track_caller]
fn query(texts: &[&str]) -> Query {
    Query::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
}

#[track_caller]
fn refusal(text: &str) -> String {
    Query::parse(&[text.to_owned()]).unwrap_err().why
}

#[test]
fn every_condition_passes_or_not_and_a_mark_turns_it_round() {
    for (text, passes) in [
        ("format=gguf", true),
        ("format=pickle,gguf", true),
        ("format!=gguf", false),
        ("name=qwen3*", true),
        ("name=*q4_k_m", true),
        ("name=qwen?-8b-*", true),
        ("name=qwen3", false),
        ("name=*a*a*a*a*a*a*a*a*b", false),
        ("arch=qwen3", true),
        ("family=qwen3", true),
        ("repo=qwen/*", true),
        ("source=huggingface", true),
        ("base=Qwen/Qwen3-8B", true),
        ("can=tools", true),
        ("can=vision", false),
        ("safety=tensors_only", true),
        ("verification=verified", true),
        ("owner=anna", true),
        ("owner=anna:users", true),
        ("owner=users", false),
        ("id=m1", true),
        ("tag=daily", true),
        ("path=/mnt/big disk", true),
        ("root=/mnt/Big disk/", true),
        ("path=/mnt/Big", false),
        ("path=*.gguf", true),
        ("license=", true),
        ("license!=", false),
        ("license=mit", false),
        ("size>4G", true),
        ("disk<=5G", true),
        ("params>=8B", true),
        ("ctx<32k", false),
        ("bpw<5", true),
        ("unused>9d", true),
        ("unused>2w", false),
        ("used<2w", true),
        ("used<48h", false),
        ("added>4w", true),
        ("added<7d", false),
        ("pinned", false),
        ("dup", true),
        ("offline", false),
        ("partial", false),
        ("verified", true),
        ("unverified", false),
        ("used", true),
        ("unused", false),
    ] {
        assert_eq!(query(&[text]).passes(&model(), now()), passes, "{text}");
        assert_eq!(query(&[&format!("!{text}")]).passes(&model(), now()), !passes, "!{text}");
    }
}

#[test]
fn what_is_unknown_is_neither_more_nor_less() {
    let bare = Model { parameters: None, last_used: None, first_seen: None, ..model() };
    for text in ["params>1", "params<1T", "used<9y", "added<9y", "unused>1d"] {
        assert!(!query(&[text]).passes(&bare, now()), "{text}");
    }
}

#[test]
fn words_are_kept_for_the_search() {
    let query = query(&["Coder", "!base", "format=gguf", "two words"]);
    let words: Vec<_> = query.words.iter().map(|word| (word.text.as_str(), word.negated)).collect();
    assert_eq!(words, [("coder", false), ("base", true), ("two words", false)]);
    assert!(query.has_conditions());
}

#[test]
fn a_filter_that_is_not_understood_is_told_what_would_be() {
    for (text, told) in [
        ("archi=qwen3", "did you mean `arch`?"),
        ("sise>4G", "did you mean `size`?"),
        ("format>gguf", "`format` is no number"),
        ("size=4G", "a number compares"),
        ("size>big", "`big` is no number"),
        ("unused>soon", "write unused>90d"),
        ("used=3d", "write used>90d"),
        ("added<99999999999999999999d", "write added>90d"),
        ("fits=yes", "fits is never `yes`; there are gpu partial cpu no"),
        ("fits>gpu", "`fits` is no number"),
        ("app=olama", "app is never `olama`; did you mean `ollama`? there are huggingface"),
        ("format!=gguf,onx", "did you mean `onnx`?"),
        ("state=broken", "there are ok ok_with_warning incomplete"),
        ("state=not_a_model", "state is never"),
        ("license-class=free", "there are permissive"),
        ("safety=danger", "did you mean `dangerous`?"),
        ("verification=no", "there are unverified verified mismatch"),
        ("source=hugging", "did you mean `huggingface`?"),
        ("kind=embeding", "did you mean `embedding`?"),
    ] {
        let why = refusal(text);
        assert!(why.contains(told), "{text}: {why}");
    }
    assert!(!refusal("nonsense=1").contains("did you mean"), "{}", refusal("nonsense=1"));
    assert!(Sort::parse("sizes").unwrap_err().contains("did you mean `size`? there are name match size"));
    for text in ["format=g*", "app=", "state=OK", "name=anything"] {
        query(&[text]);
    }
}

#[test]
fn a_state_is_every_word_that_the_list_shows_for_it() {
    let dangerous = Model { safety: Some(Safety::Dangerous), state: State::OkWithWarning, ..model() };
    let altered = Model { verification: Verification::Mismatch, ..model() };
    for (text, passing) in [
        ("state=dangerous", [true, false]),
        ("state=ok_with_warning", [true, false]),
        ("state=mismatch", [false, true]),
        ("state=dangerous,mismatch", [true, true]),
        ("state!=mismatch", [true, false]),
        ("state=unverifiable", [false, false]),
    ] {
        assert_eq!(
            [&dangerous, &altered].map(|model| query(&[text]).passes(model, now())),
            passing,
            "{text}"
        );
    }
}

#[test]
fn what_fits_is_told_by_how_and_what_is_unknown_does_not() {
    let fit = |how| Fit {
        fits: how != How::No,
        how,
        ctx: 16_384,
        gpu_layers: 0,
        layers: 33,
        n_cpu_moe: 0,
        short: (how == How::No).then_some(6 << 30),
    };
    let of = |how: Option<How>| Model { fits: how.map(fit), ..model() };
    let models = [of(Some(How::Gpu)), of(Some(How::Cpu)), of(Some(How::No)), of(None)];
    for (text, passing) in [
        ("fits", [true, true, false, false]),
        ("fits=gpu", [true, false, false, false]),
        ("fits=CPU,partial", [false, true, false, false]),
        ("fits=no", [false, false, true, false]),
        ("fits=", [false, false, false, true]),
        ("!fits=no", [true, true, false, true]),
    ] {
        assert!(query(&[text]).asks_fits(), "{text}");
        assert_eq!([0, 1, 2, 3].map(|n: usize| query(&[text]).passes(&models[n], now())), passing, "{text}");
    }
    assert!(!query(&["state=ok", "fitting"]).asks_fits());
}

#[test]
fn the_best_match_comes_first_and_names_decide_between_equals() {
    let [a, b] = ["alpha", "beta"].map(|name| Model { name: name.into(), ..model() });
    let sort = Sort::parse("match").unwrap();
    assert!(sort.compare(&sort.place(&a, 1), &sort.place(&b, 0)).is_gt());
    assert!(sort.compare(&sort.place(&a, 1), &sort.place(&b, 1)).is_lt());
}

#[test]
fn words_are_found_where_they_stand() {
    let words = text::of_model(&Model { note: Some("Writes\nSQL".into()), ..model() });
    for (word, place) in [
        ("qwen3-8b", Some(0)),
        ("q4_k", Some(1)),
        ("sql", Some(2)),
        ("daily", Some(2)),
        ("/mnt/big disk", Some(2)),
        ("qwen/qwen3-8b", Some(2)),
        ("m1 ", None),
        ("mistral", None),
    ] {
        assert_eq!(text::place(&words, word), place, "{word} in {words}");
    }
}

#[test]
fn a_card_gives_its_front_matter_and_the_beginning_of_its_text() {
    let filler = "benchmark ".repeat(2000);
    let card = format!("---\ntags:\n- Erzählung\nresults: {filler}\n---\n# Über\n{}\nend", "x ".repeat(9000));
    let text = text::of_card(card.as_bytes());
    assert!(text.starts_with("--- tags: - Erzählung results: benchmark"), "{text}");
    assert!(text.contains("# Über") && !text.contains("end"), "{}", text.len());
    assert!(text.len() < 13 << 10);
    let picture = format!("see data:image/png;base64,{} here", "A".repeat(5000));
    assert_eq!(text::of_card(picture.as_bytes()), "see here");
    assert_eq!(text::of_card(b"\xff\xfe---\n"), "\u{fffd}\u{fffd}---");
}
