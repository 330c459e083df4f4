use super::*;
use crate::Kind::{
    Asr, Checkpoint, ControlNet, DiffusionModel, Embedding, Hypernetwork, Llm, Lora, Other, Reranker,
    TextEncoder, TextualInversion, Tts, Upscaler, Vae, VisionProjector,
};

/// `name` or `name:2x3`, separated by spaces.
fn tensors(text: &str) -> Vec<(&str, Vec<u64>)> {
    text.split_whitespace()
        .map(|word| match word.rsplit_once(':') {
            Some((name, shape)) => (name, shape.split('x').map(|dim| dim.parse().unwrap()).collect()),
            None => (word, vec![4]),
        })
        .collect()
}

fn look(text: &str) -> Option<Recognised> {
    let tensors = tensors(text);
    let named: Vec<_> = tensors.iter().map(|(name, shape)| (*name, shape.as_slice())).collect();
    recognise(&named)
}

#[track_caller]
fn check(text: &str, kind: Kind, id: Option<&str>) {
    let found = look(text);
    assert_eq!(found.map(|found| (found.kind, found.id())), Some((kind, id.map(str::to_owned))), "{text}");
}

#[test]
fn every_rule_of_comfyui_finds_its_family() {
    let cases = include_str!("../../../tests/data/families.txt");
    let known = |word: &str| (word != "-").then(|| word.to_owned());
    let mut count = 0;
    for line in cases.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.splitn(4, ' ');
        let mut next = || words.next().unwrap();
        let (kind, family, variant, tensors) = (next(), known(next()), known(next()), next());
        let found = look(tensors).unwrap_or_else(|| panic!("{line}"));
        let (family_found, variant_found) =
            (found.family.map(str::to_owned), found.variant.map(str::to_owned));
        assert_eq!((found.kind.name(), family_found, variant_found), (kind, family, variant), "{line}");
        count += 1;
    }
    assert_eq!(count, 134);
}

#[test]
fn a_checkpoint_has_its_vae_or_text_encoder_with_it() {
    let unet = "input_blocks.0.0.weight:320x4x3x3 label_emb.0.0.weight:1280x2816
        input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight:640x2048 a b c d";
    let with =
        |prefix: &str| unet.split_whitespace().map(|name| format!("{prefix}{name} ")).collect::<String>();
    check(unet, DiffusionModel, Some("sdxl"));
    check(&with("model.diffusion_model."), DiffusionModel, Some("sdxl"));
    for rest in ["first_stage_model.encoder.conv_in.weight", "vae.decoder.conv_in.weight", "text_encoders.a"]
    {
        check(&format!("{} {rest}", with("model.diffusion_model.")), Checkpoint, Some("sdxl"));
    }
    let whole =
        format!("{} v_pred conditioner.embedders.0.transformer.text_model.x", with("model.diffusion_model."));
    check(&whole, Checkpoint, Some("sdxl-vpred"));
    check("net.blocks.0.mlp.layer1.weight net.b net.c", DiffusionModel, Some("cosmos-predict2"));
    check("model.double_layers.0.attn.w1q.weight", DiffusionModel, Some("auraflow"));
}

#[test]
fn what_is_too_little_for_a_family_still_has_a_kind() {
    for (text, kind) in [
        (
            "model.diffusion_model.input_blocks.0.0.weight:4x4x3x3 first_stage_model.encoder.conv_in.weight:4x3x3x3
             conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight:77x4",
            Checkpoint,
        ),
        ("model.diffusion_model.input_blocks.0.0.bias:8 first_stage_model.encoder.conv_in.bias:8", Checkpoint),
        ("encoder.conv_in.weight:4x3x3x3 decoder.conv_out.weight:3x4x3x3", Vae),
        (
            "control_model.input_hint_block.0.weight:4x3x3x3 control_model.zero_convs.0.0.weight:4x4x1x1",
            ControlNet,
        ),
        ("double_blocks.0.img_attn.qkv.weight:12x4 img_in.weight:4x4", DiffusionModel),
        ("text_model.embeddings.token_embedding.weight:8x4 text_model.final_layer_norm.weight:4", TextEncoder),
        ("emb_params:2x8", TextualInversion),
        ("emb_params:8", TextualInversion),
        ("320:8", Hypernetwork),
        ("conv_first.weight:8", Upscaler),
        (
            "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight:4x32
             lora_unet_down_blocks_0_attentions_0_proj_in.alpha",
            Lora,
        ),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight:4x16", Lora),
        ("model.embed_tokens.weight:8x16 model.layers.0.self_attn.q_proj.weight:16x16", Llm),
        ("model.norm.weight:16 lm_head.weight:8x16", Llm),
        ("model.embed_tokens.weight:8x4 model.embed_tokens.scales:8x1 model.embed_tokens.biases:8x1", Llm),
        ("model.layers.0.self_attn.q_proj.trellis:1x1x16 model.layers.0.self_attn.q_proj.suh:16", Llm),
        ("transformer.wte.weight:16", Llm),
    ] {
        check(text, kind, None);
    }
}

#[test]
fn an_adapter_goes_with_the_family_whose_modules_it_changes() {
    for (module, input, expected) in [
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", 640, Some("sdxl")),
        ("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k", 2048, Some("sdxl")),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 768, Some("sd15")),
        ("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 768, Some("sd15")),
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v", 1024, Some("sd2")),
        ("lora_unet_double_blocks_7_img_mlp_0", 3072, Some("flux")),
        ("lora_unet_single_blocks_20_modulation_lin", 3072, Some("flux")),
        ("transformer.single_transformer_blocks.0.attn.to_q", 3072, Some("flux")),
        ("lora_unet_double_blocks_0_img_mlp_fc1", 3072, Some("hunyuan-video")),
        ("diffusion_model.double_blocks.0.img_attn.qkv", 6144, Some("flux2")),
        ("lora_unet_double_blocks_0_img_attn_qkv", 3072, None),
        ("transformer_blocks.0.img_mlp.net.0.proj", 3072, Some("qwen-image")),
        ("diffusion_model.blocks.0.cross_attn.k", 5120, Some("wan")),
        ("lora_unet_blocks_0_cross_attn_k_img", 5120, Some("wan2.1-i2v")),
        ("diffusion_model.blocks.0.cross_attn.q_proj", 2048, Some("cosmos-predict2")),
        ("diffusion_model.layers.0.attention.to_q", 3840, Some("z-image")),
        ("transformer.transformer_blocks.0.attn.add_k_proj", 1536, Some("sd3")),
        ("transformer.transformer_blocks.0.attn1.to_q", 2048, Some("ltxv")),
        (
            "down_blocks.0.motion_modules.0.temporal_transformer.attention_blocks.0.processor.to_q",
            320,
            Some("animatediff"),
        ),
        ("base_model.model.model.layers.0.self_attn.q_proj", 4096, None),
    ] {
        let text = format!("{module}.lora_down.weight:8x{input} {module}.lora_up.weight:{input}x8");
        check(&text, Lora, expected);
    }
}

#[test]
fn add_ons_and_upscalers_are_known_by_their_own_names() {
    for (text, kind, id) in [
        ("ip_adapter.1.to_k_ip.weight:320x768 image_proj.norm.weight:768", Other, Some("ip-adapter-sd15")),
        ("ip_adapter.1.to_k_ip.weight:640x2048 image_proj.proj_in.weight", Other, Some("ip-adapter-sdxl")),
        (
            "ip_adapter.0.to_q_lora.down.weight:128x320 ip_adapter.1.to_k_ip.weight:320x768",
            Other,
            Some("ip-adapter-sd15"),
        ),
        ("redux_down.weight redux_up.weight", Other, Some("flux-redux")),
        ("down_blocks.0.motion_modules.0.temporal_transformer.norm.weight", Other, Some("animatediff")),
        ("emb_params:2x768", TextualInversion, Some("sd15")),
        ("clip_g:8x1280 clip_l:8x768", TextualInversion, Some("sdxl")),
        ("clip_l:8x768", TextualInversion, Some("sd15")),
        ("string_to_param.*:2x768", TextualInversion, None),
        ("<acme-cat>:768", TextualInversion, None),
        (
            "params_ema.conv_first.weight:64x3x3x3 params_ema.body.0.rdb1.conv1.weight",
            Upscaler,
            Some("esrgan"),
        ),
        ("model.0.weight model.1.sub.0.RDB1.conv1.0.weight", Upscaler, Some("esrgan")),
        ("conv_first.weight layers.0.residual_group.blocks.0.norm1.weight", Upscaler, Some("swinir")),
        (
            "conv_first.weight layers.0.residual_group.blocks.0.norm1.weight
             layers.0.residual_group.overlap_attn.relative_position_bias_table",
            Upscaler,
            Some("hat"),
        ),
        ("before_RG.1.weight layers.0.blocks.0.attn.spatial_interaction.0.weight", Upscaler, Some("dat")),
        ("block_1.c1_r.sk.weight conv_cat.weight", Upscaler, Some("span")),
        (
            "body.0.weight:64x3x3x3 body.1.weight:64 body.2.weight:64x64x3x3",
            Upscaler,
            Some("realesrgan-compact"),
        ),
        (
            "zero_convs.0.0.weight input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight:320x768",
            ControlNet,
            Some("sd15"),
        ),
        ("controlnet_blocks.0.weight controlnet_x_embedder.weight", ControlNet, Some("flux")),
        ("controlnet_blocks.0.weight pos_embed_input.proj.weight", ControlNet, Some("sd3")),
        (
            "conv_in.weight down_blocks.0.resnets.0.conv1.weight add_embedding.linear_1.weight:1280x2816",
            DiffusionModel,
            Some("sdxl"),
        ),
        (
            "x_embedder.weight:3072x64 transformer_blocks.0.attn.norm_added_k.weight",
            DiffusionModel,
            Some("flux-schnell"),
        ),
    ] {
        check(text, kind, id);
    }
}

#[test]
fn language_and_speech_are_told_where_tensors_tell() {
    for (text, kind, id) in [
        (
            "model.encoder.conv1.weight:384x80x3 model.decoder.layers.0.encoder_attn.k_proj.weight",
            Asr,
            Some("whisper"),
        ),
        ("wav2vec2.feature_extractor.conv_layers.0.conv.weight lm_head.weight", Asr, Some("wav2vec2")),
        ("encoder.pre_encode.conv.0.weight joint.enc.weight", Asr, Some("conformer")),
        ("flow.flows.0.a decoder.resblocks.0.a text_encoder.embed_tokens.weight", Tts, Some("vits")),
        ("model.mm_projector.0.weight model.mm_projector.2.weight", VisionProjector, None),
        ("embeddings.word_embeddings.weight encoder.layer.0.a pooler.dense.weight", Embedding, None),
        (
            "bert.embeddings.word_embeddings.weight bert.pooler.dense.weight classifier.weight:1x384",
            Reranker,
            None,
        ),
        ("roberta.embeddings.word_embeddings.weight classifier.out_proj.weight:1x1024", Reranker, None),
        (
            "language_model.model.layers.0.self_attn.q_proj.weight multi_modal_projector.linear_1.weight",
            Llm,
            None,
        ),
        ("transformer.h.0.attn.c_attn.weight", Llm, None),
        ("gpt_neox.layers.0.attention.dense.weight", Llm, None),
        ("tok_embeddings.weight layers.0.attention.wq.weight", Llm, None),
        ("transformer.rotary_pos_emb.inv_freq transformer.encoder.layers.0.a", Llm, None),
        (
            "shared.weight encoder.block.0.layer.0.SelfAttention.k.weight:768x768
             decoder.block.0.layer.0.SelfAttention.k.weight",
            Llm,
            None,
        ),
        ("encoder.block.0.layer.0.SelfAttention.k.weight:768x768", TextEncoder, Some("t5-base")),
        (
            "encoder.block.23.layer.1.DenseReluDense.wi_1.weight:10240x4096
             encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight",
            TextEncoder,
            Some("umt5-xxl"),
        ),
        (
            "model.layers.0.post_feedforward_layernorm.weight model.layers.0.self_attn.q_norm.weight",
            Llm,
            None,
        ),
    ] {
        check(text, kind, id);
    }
}

#[test]
fn what_may_be_several_things_is_none() {
    for text in [
        "weight",
        "bert.embeddings.word_embeddings.weight bert.encoder.layer.0.a bert.pooler.dense.weight",
        "roberta.embeddings.word_embeddings.weight lm_head.dense.weight",
        "model.layers.0.self_attn.q_proj.weight score.weight:1x1024",
        "layers.0.self_attn.q_proj.weight norm.weight",
        "text_model.head.weight vision_model.head.probe",
    ] {
        assert_eq!(look(text), None, "{text}");
    }
    assert_eq!(recognise(&[]), None);
}

#[test]
fn the_family_of_a_variant_is_that_of_its_rule() {
    for (id, family) in [
        ("flux-dev", "flux"),
        ("flux-kontext", "flux"),
        ("flux2-dev", "flux2"),
        ("sd3.5-large", "sd3"),
        ("sdxl-inpaint", "sdxl"),
        ("sdxl-refiner", "sdxl-refiner"),
        ("wan2.1-i2v", "wan"),
        ("acme", "acme"),
    ] {
        assert_eq!(base_family(id), family);
    }
}
