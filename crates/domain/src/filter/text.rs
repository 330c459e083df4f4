//! The words of a model that a search goes through, and how well they match. Keeps no index of them.

use crate::Model;

/// Where a word stands, the best first. What only the index of whole words finds comes after all of these.
const NAME_BEGINS: u32 = 0;
const IN_NAME: u32 = 1;
const ELSEWHERE: u32 = 2;
/// Of a word that only the index of whole words finds, and of one that only a card has.
pub const WHOLE_WORD: u32 = 3;
pub const IN_CARD: u32 = 4;

/// Bytes of a card's front matter and of its text that are searched: what a model is for stands at the top.
const FRONT_MATTER: usize = 4 << 10;
const BODY: usize = 8 << 10;

/// What is longer is no word but an address or a picture, bytes.
const LONGEST_WORD: usize = 48;

/// Returns the words as lines in lower case, the name first.
pub fn of_model(model: &Model) -> String {
    let own = [&model.note, &model.architecture, &model.quant, &model.license];
    let lists = model.tags.iter().chain(&model.aliases).chain(&model.base_models);
    let repos = model.locations.iter().filter_map(|location| location.source.as_ref()?.repo.as_ref());
    let names = model.locations.iter().filter_map(|location| location.name.as_ref());
    let places = model.locations.iter().flat_map(|location| {
        [&*location.id].into_iter().chain(location.files.iter().map(|file| file.path.text()))
    });
    let words = own.into_iter().flatten().chain(lists).chain(repos).chain(names).map(String::as_str);
    let mut text = model.name.replace('\n', " ");
    for word in words.chain(places) {
        text.push('\n');
        text.push_str(word);
    }
    text.to_lowercase()
}

/// Returns where in the words of a model a text in lower case stands best; None where it does not.
pub fn place(words: &str, text: &str) -> Option<u32> {
    let name = words.split('\n').next().unwrap_or_default();
    match words.find(text)? {
        0 => Some(NAME_BEGINS),
        at if at < name.len() => Some(IN_NAME),
        _ => Some(ELSEWHERE),
    }
}

/// Returns the searched part of a card.
pub fn of_card(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..FRONT_MATTER * 16).unwrap_or(bytes));
    let end = text.strip_prefix("---").and_then(|rest| rest.find("\n---")).map_or(0, |at| at + "---".len());
    let (matter, body) = text.split_at(end);
    let words = [(matter, FRONT_MATTER), (body, BODY)].into_iter().flat_map(|(part, most)| {
        let part = part.get(..part.floor_char_boundary(most)).unwrap_or_default();
        part.split_whitespace().filter(|word| word.len() <= LONGEST_WORD)
    });
    words.collect::<Vec<_>>().join(" ")
}
