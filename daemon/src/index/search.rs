//! Words of models, and which of them a search finds. What a match is worth is said in `domain::filter::text`.

use super::Reader;
use domain::{
    Model,
    filter::{
        Word,
        text::{IN_CARD, WHOLE_WORD, of_model, place},
    },
};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::HashMap;

/// Stores a model's words; `row` is its row in `model`.
pub(super) fn put(db: &Connection, row: i64, model: &Model) -> rusqlite::Result<()> {
    let text = of_model(model);
    let before: Option<String> = db
        .prepare_cached("SELECT text FROM words WHERE model = ?1")?
        .query_row([row], |row| row.get(0))
        .optional()?;
    if before.as_ref() == Some(&text) {
        return Ok(());
    }
    if before.is_some() {
        db.prepare_cached("DELETE FROM word_index WHERE rowid = ?1")?.execute([row])?;
    }
    db.prepare_cached("INSERT OR REPLACE INTO words (model, text) VALUES (?1, ?2)")?
        .execute(params![row, text])?;
    db.prepare_cached("INSERT INTO word_index (rowid, text) VALUES (?1, ?2)")?.execute(params![row, text])?;
    Ok(())
}

/// Forgets the words of a model that is about to go.
pub(super) fn remove(db: &Connection, model: &str) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM word_index WHERE rowid = (SELECT rowid FROM model WHERE id = ?1)",
        "DELETE FROM words WHERE model = (SELECT rowid FROM model WHERE id = ?1)",
    ] {
        db.prepare_cached(sql)?.execute([model])?;
    }
    Ok(())
}

/// Stores the words of a location's card.
pub(super) fn put_card(db: &Connection, location: i64, card: Option<&str>) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM card_index WHERE rowid = ?1")?.execute([location])?;
    if let Some(card) = card {
        db.prepare_cached("INSERT INTO card_index (rowid, text) VALUES (?1, ?2)")?
            .execute(params![location, card])?;
    }
    Ok(())
}

/// A word that is looked for, with the models that have it as a whole word or its beginning.
struct Sought<'a> {
    word: &'a Word,
    found: HashMap<i64, u32>,
}

impl Reader {
    /// Finds the models that pass every word, by their row, with how well they match: the best has 0.
    pub fn matching(&self, words: &[Word]) -> anyhow::Result<HashMap<i64, u32>> {
        let sought = words.iter().map(|word| Ok(Sought { word, found: self.whole_words(&word.text)? }));
        let sought: Vec<Sought<'_>> = sought.collect::<rusqlite::Result<_>>()?;
        let mut select = self.db.prepare_cached("SELECT model, text FROM words")?;
        let mut rows = select.query([])?;
        let mut matching = HashMap::new();
        while let Some(row) = rows.next()? {
            let (model, text): (i64, &str) = (row.get(0)?, row.get_ref(1)?.as_str()?);
            let ranks = sought.iter().map(|sought| sought.rank(model, text));
            if let Some(rank) = ranks.sum() {
                matching.insert(model, rank);
            }
        }
        Ok(matching)
    }

    fn whole_words(&self, text: &str) -> rusqlite::Result<HashMap<i64, u32>> {
        let mut found = HashMap::new();
        let Some(query) = beginnings(text) else { return Ok(found) };
        let searches = [
            (
                IN_CARD,
                "SELECT model.rowid FROM card_index JOIN location ON location.id = card_index.rowid
                JOIN model ON model.id = location.model WHERE card_index MATCH ?1",
            ),
            (WHOLE_WORD, "SELECT rowid FROM word_index WHERE word_index MATCH ?1"),
        ];
        for (rank, sql) in searches {
            for model in self.db.prepare_cached(sql)?.query_map([&query], |row| row.get(0))? {
                found.insert(model?, rank);
            }
        }
        Ok(found)
    }

    /// Every model as JSON text with its row, by name, that is wanted by its row.
    pub fn models_of(
        &self,
        wanted: &HashMap<i64, u32>,
        mut each: impl FnMut(i64, &str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut rows = self.db.prepare_cached("SELECT rowid FROM model ORDER BY name, id")?;
        let mut json = self.db.prepare_cached("SELECT json FROM model WHERE rowid = ?1")?;
        for row in rows.query_map([], |row| row.get(0))? {
            let row: i64 = row?;
            if wanted.contains_key(&row) {
                json.query_row([row], |found| Ok(each(row, found.get_ref(0)?.as_str()?)))??;
            }
        }
        Ok(())
    }
}

impl Sought<'_> {
    fn rank(&self, model: i64, text: &str) -> Option<u32> {
        let rank = place(text, &self.word.text).or_else(|| self.found.get(&model).copied());
        if self.word.negated { rank.is_none().then_some(0) } else { rank }
    }
}

/// Whole words that begin so, all of them; None where there is no letter or digit to look for.
fn beginnings(text: &str) -> Option<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let quoted: Vec<String> = words.map(|word| format!("\"{word}\"*")).collect();
    (!quoted.is_empty()).then(|| quoted.join(" AND "))
}
