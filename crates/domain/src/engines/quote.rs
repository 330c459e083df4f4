//! A command as one line of shell, exact for every name a file can have.

use std::{collections::BTreeMap, ffi::OsString, fmt::Write as _, os::unix::ffi::OsStrExt as _};

/// Writes `VAR=value … program argument …`, each word quoted where it needs it.
pub fn shell_line(env: &BTreeMap<String, String>, argv: &[OsString]) -> String {
    let variables = env.iter().map(|(name, value)| format!("{name}={}", word(value.as_bytes())));
    let words = argv.iter().map(|argument| word(argument.as_bytes()));
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn word(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        Ok(text) if !text.chars().any(hidden) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => dollar_quoted(bytes),
    }
}

/// What a terminal would act on or not show.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn dollar_quoted(bytes: &[u8]) -> String {
    let mut line = String::from("$'");
    for byte in bytes {
        match byte {
            b'\'' | b'\\' => line.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => line.push(char::from(*byte)),
            // Three octal digits: unlike \x, they cannot swallow the digit that follows.
            other => drop(write!(line, "\\{other:03o}")),
        }
    }
    line.push('\'');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;

    #[test]
    #[expect(clippy::disallowed_types, reason = "the reader that matters is bash itself")]
    fn bash_reads_back_the_very_bytes() {
        for name in [
            &b"plain-Q4_K_M.gguf"[..],
            b"",
            b"two words",
            b"it's",
            b"$(touch pwned) `id` ${HOME} !! *?[a] ~ # ; & | < >",
            b"new\nline and\ttab",
            b"\x1b[31mred",
            b"non\xff\xfeutf8 9",
            b"-rf",
            "rtl\u{202e}gpj".as_bytes(),
            b"back\\slash \"double\"",
        ] {
            let line = shell_line(
                &BTreeMap::new(),
                &["printf".into(), "%s".into(), OsString::from_vec(name.to_vec())],
            );
            let output = std::process::Command::new("bash").arg("-c").arg(&line).output().unwrap();
            assert_eq!(output.stdout, name, "{line}");
            assert!(!line.contains(['\n', '\x1b']), "{line}");
        }
    }
}
