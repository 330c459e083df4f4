//! Whether a settings file was cut short, or overwritten: then what it does not say was perhaps said before.

use saphyr_parser::Parser;
use serde::de::IgnoredAny;
use std::path::Path;

/// Returns why nothing is known by a settings file that an app's store has named. Of plain text few damage is seen.
pub fn damage(path: &Path, content: &[u8]) -> Option<String> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension {
        "json" | "kcpps" | "kcppt" => {
            serde_json::from_slice::<IgnoredAny>(content).err().map(|error| error.to_string())
        }
        "yaml" | "yml" => match std::str::from_utf8(content) {
            Ok(text) => Parser::new_from_str(text).find_map(Result::err).map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        },
        // What a power failure leaves of a file that was being written.
        _ => content.contains(&0).then(|| "it is no text".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, content: &[u8], is_damaged: bool) {
        assert_eq!(damage(Path::new(name), content).is_some(), is_damaged, "{name}");
    }

    #[test]
    fn what_is_cut_short_is_damaged_and_what_says_little_is_not() {
        check("/s/settings.json", br#"{"downloadsFolder": "/data"}"#, false);
        check("/s/settings.json", br#"{"downloadsFolder": "#, true);
        check("/s/settings.json", b"", true);
        check("/s/a.kcpps", b"{", true);
        check("/s/extra_model_paths.yaml", b"# all of it\n# is an example\n", false);
        check(
            "/s/extra_model_paths.yaml",
            b"comfyui:\n    base_path: /data\n    checkpoints: |\n        a\n",
            false,
        );
        check("/s/extra_model_paths.yaml", b"comfyui:\n    base_path: \"/da", true);
        check("/s/extra_model_paths.yaml", b"\xff\xfe", true);
        check("/s/GPT4All.ini", b"[General]\nmodelPath=/data\n", false);
        check("/s/GPT4All.ini", &[0; 64], true);
        check("/s/CMD_FLAGS.txt", b"", false);
    }

    #[test]
    fn hostile_text_costs_little() {
        for text in ["[", "{a: ", "- ", "? "] {
            let deep = text.repeat(50_000);
            drop(damage(Path::new("/s/a.yaml"), deep.as_bytes()));
            drop(damage(Path::new("/s/a.json"), deep.as_bytes()));
        }
    }
}
