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
use std::collections::{BTreeMap, HashMap};

/// Words that are to be searched: stored at the end of a transaction, as full-text tables are written most cheaply when
/// nothing else is written between.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By the model's row.
    models: BTreeMap<i64, String>,
    /// By the location's row; None where it has no card.
    cards: BTreeMap<i64, Option<String>>,
}

impl Waiting {
    /// A model's words; `row` is its row in `model`.
    pub(super) fn model(&mut self, row: i64, model: &Model) {
        self.models.insert(row, of_model(model));
    }

    /// The words of a location's card.
    pub(super) fn card(&mut self, location: i64, card: Option<String>) {
        self.cards.insert(location, card);
    }

    /// Forgets the words of a model that is about to go.
    pub(super) fn forget(&mut self, db: &Connection, model: &str) -> rusqlite::Result<()> {
        let row: Option<i64> = db
            .prepare_cached("SELECT rowid FROM model WHERE id = ?1")?
            .query_row([model], |row| row.get(0))
            .optional()?;
        let Some(row) = row else { return Ok(()) };
        self.models.remove(&row);
        for sql in ["DELETE FROM word_index WHERE rowid = ?1", "DELETE FROM words WHERE model = ?1"] {
            db.prepare_cached(sql)?.execute([row])?;
        }
        Ok(())
    }

    /// Stores what differs from what is stored.
    pub(super) fn store(&mut self, db: &Connection) -> rusqlite::Result<()> {
        for (row, text) in std::mem::take(&mut self.models) {
            put_model(db, row, &text)?;
        }
        for (location, card) in std::mem::take(&mut self.cards) {
            put_card(db, location, card.as_deref())?;
        }
        Ok(())
    }
}

fn put_model(db: &Connection, row: i64, text: &str) -> rusqlite::Result<()> {
    let before: Option<String> = db
        .prepare_cached("SELECT text FROM words WHERE model = ?1")?
        .query_row([row], |row| row.get(0))
        .optional()?;
    if before.as_deref() == Some(text) {
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

fn put_card(db: &Connection, location: i64, card: Option<&str>) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM card_index WHERE rowid = ?1")?.execute([location])?;
    // The location may have gone since.
    db.prepare_cached(
        "INSERT INTO card_index (rowid, text) SELECT id, ?2 FROM location WHERE id = ?1 AND ?2 IS NOT NULL",
    )?
    .execute(params![location, card])?;
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
        for row in rows.query_map([], |row| row.get(0))? {
            let row: i64 = row?;
            if wanted.contains_key(&row) {
                self.model_at(row, |text| each(row, text))?;
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
