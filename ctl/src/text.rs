//! The one door through which words that others wrote reach a terminal.

use std::{borrow::Cow, fmt::Write as _};
use unicode_width::UnicodeWidthStr as _;

/// Returns the text with everything escaped that a terminal would act on or not show.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            // Writing to a String cannot fail.
            '\0'..='\x7f' if c.is_control() => drop(write!(shown, "\\x{:02x}", u32::from(c))),
            hidden if is_hidden(hidden) => drop(write!(shown, "\\u{{{:x}}}", u32::from(hidden))),
            plain => shown.push(plain),
        }
    }
    Cow::Owned(shown)
}

/// Controls (C0, DEL, C1), direction marks, zero-width and other invisible characters, line separators.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Returns a sentence of ours in ASCII, where a terminal may have nothing else.
pub(crate) fn in_locale(sentence: &str, has_utf8: bool) -> Cow<'_, str> {
    match has_utf8 || sentence.is_ascii() {
        true => Cow::Borrowed(sentence),
        false => Cow::Owned(sentence.replace('–', "-").replace('…', "...").replace('µ', "u")),
    }
}

/// Columns that the text takes on a terminal.
pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// Returns the text in at most `room` columns, its middle left out: a model's name says most at both ends.
pub(crate) fn shorten(text: &str, room: usize) -> Cow<'_, str> {
    if width(text) <= room {
        return Cow::Borrowed(text);
    }
    let kept = room.saturating_sub(1);
    let tail_room = kept / 2;
    let head = fitting(text.chars(), kept - tail_room);
    let tail: String = fitting(text.chars().rev(), tail_room).chars().rev().collect();
    Cow::Owned(format!("{head}…{tail}"))
}

/// Returns the text in lines of at most `room` columns, broken at blanks; a longer word stays whole.
pub(crate) fn wrapped(text: &str, room: Option<usize>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if room.is_none_or(|room| width(line) + 1 + width(word) <= room) => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Returns the text behind what begins its first line, broken like `wrapped`; the other lines stand as far in.
pub(crate) fn hanging(begin: &str, text: &str, room: Option<usize>) -> Vec<String> {
    let indent = width(begin);
    let lines = wrapped(text, room.map(|room| room.saturating_sub(indent)));
    let begins = std::iter::once(begin.to_owned()).chain(std::iter::repeat(" ".repeat(indent)));
    begins.zip(lines).map(|(begin, line)| begin + &line).collect()
}

fn fitting(chars: impl Iterator<Item = char>, room: usize) -> String {
    let mut taken = 0;
    chars
        .take_while(|c| {
            taken += unicode_width::UnicodeWidthChar::width(*c).unwrap_or(0);
            taken <= room
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_shown_instead() {
        for (text, shown) in [
            ("Qwen3-8B-Q4_K_M", "Qwen3-8B-Q4_K_M"),
            ("模型 ünïcode é", "模型 ünïcode é"),
            ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
            ("a\nb\tc\rd\0e\x7f", "a\\nb\\tc\\rd\\x00e\\x7f"),
            ("c1 \u{9b}31m", "c1 \\u{9b}31m"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
            ("\u{2066}x\u{2069}\u{200b}\u{feff}", "\\u{2066}x\\u{2069}\\u{200b}\\u{feff}"),
            ("\u{2028}line", "\\u{2028}line"),
        ] {
            assert_eq!(clean(text), shown);
        }
    }

    #[test]
    fn lines_are_broken_at_blanks() {
        assert_eq!(wrapped("one two three", Some(8)), ["one two", "three"]);
        assert_eq!(wrapped("one-long-word two", Some(4)), ["one-long-word", "two"]);
        assert_eq!(wrapped("one two", None), ["one two"]);
    }

    #[test]
    fn without_utf8_dashes_and_dots_are_ascii() {
        assert_eq!(in_locale("12–15 of ünïcode…", false), "12-15 of ünïcode...");
        assert_eq!(in_locale("12–15…", true), "12–15…");
    }

    #[test]
    fn a_sentence_hangs_below_where_it_began() {
        assert_eq!(hanging("- ", "one two three", Some(9)), ["- one two", "  three"]);
        assert_eq!(hanging("- ", "one two", None), ["- one two"]);
        assert_eq!(hanging("plan     ", "one two", Some(5)), ["plan     one", "         two"]);
    }

    #[test]
    fn a_long_name_keeps_both_ends() {
        assert_eq!(shorten("Qwen3-Coder-30B-A3B-Instruct-Q4_K_M", 15), "Qwen3-C…-Q4_K_M");
        assert_eq!(shorten("short", 5), "short");
        assert_eq!(shorten("模型模型模型模型", 8), "模型…型");
    }
}
