//! What relatives and companions are told by, of every model. Says nothing of who is one.

use super::{Reader, json, models};
use domain::{Kin, Model, Part, Verdict, facts::Facts};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::{collections::BTreeSet, path::Path};

pub(super) fn put(db: &Connection, model: &Model, facts: Option<&Facts>) -> anyhow::Result<()> {
    let (kin, part) = (Kin::of(model, facts), Part::of(model, facts));
    let texts = (serde_json::to_string(&kin)?, serde_json::to_string(&part)?);
    let before: Option<(String, String)> = db
        .prepare_cached("SELECT kin, part FROM kin WHERE model = ?1")?
        .query_row([&model.id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    // The words follow from them.
    if before.as_ref() == Some(&texts) {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT OR REPLACE INTO kin (model, kin, kind, family, width, tokens, part)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        model.id,
        texts.0,
        kin.kind.map(|kind| kind.name()),
        part.family,
        part.meeting_width().map(u64::cast_signed),
        part.tokens(),
        texts.1
    ])?;
    if before.is_some() {
        forget_words(db, &model.id)?;
    }
    let mut insert =
        db.prepare_cached("INSERT OR IGNORE INTO kin_word (model, is_own, word) VALUES (?1, ?2, ?3)")?;
    for (is_own, words) in [(true, kin.own_words()), (false, kin.named_words())] {
        for word in words {
            insert.execute(params![model.id, is_own, word])?;
        }
    }
    Ok(())
}

pub(super) fn remove(db: &Connection, model: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM kin WHERE model = ?1")?.execute([model])?;
    forget_words(db, model)
}

fn forget_words(db: &Connection, model: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM kin_word WHERE model = ?1")?.execute([model])?;
    Ok(())
}

impl Reader {
    /// Of these models, in the order of their ids.
    pub fn kin(&self, models: &BTreeSet<String>) -> anyhow::Result<Vec<Kin>> {
        let mut select = self.db.prepare_cached("SELECT kin FROM kin WHERE model = ?1")?;
        let mut all = Vec::new();
        for model in models {
            all.extend(select.query_row([model], |row| json(row.get_ref(0)?.as_str()?, 0)).optional()?);
        }
        Ok(all)
    }

    /// A model and all that it was made from.
    pub fn line(&self, model: &str) -> anyhow::Result<BTreeSet<String>> {
        let mut line = BTreeSet::from([model.to_owned()]);
        let (mut words, mut todo) = (BTreeSet::new(), vec![model.to_owned()]);
        while let Some(model) = todo.pop() {
            for word in self.words_of(&model, false)? {
                if words.insert(word.clone()) {
                    let owners = self.with_word(&word, true)?.into_iter();
                    todo.extend(owners.filter(|owner| line.insert(owner.clone())));
                }
            }
        }
        Ok(line)
    }

    /// A model, all that it was made from, all that was made from those, and whatever else these name.
    pub fn relatives(&self, model: &str) -> anyhow::Result<BTreeSet<String>> {
        let mut relatives = self.line(model)?;
        let mut todo = Vec::new();
        for model in &relatives {
            todo.extend(self.words_of(model, true)?);
            todo.extend(self.words_of(model, false)?);
        }
        let mut words = BTreeSet::new();
        while let Some(word) = todo.pop() {
            if words.insert(word.clone()) {
                for child in self.with_word(&word, false)? {
                    if relatives.insert(child.clone()) {
                        todo.extend(self.words_of(&child, true)?);
                    }
                }
            }
        }
        let mut named = BTreeSet::new();
        for model in &relatives {
            named.extend(self.words_of(model, false)?);
        }
        for word in named {
            relatives.extend(self.with_word(&word, true)?);
        }
        Ok(relatives)
    }

    fn words_of(&self, model: &str, is_own: bool) -> rusqlite::Result<Vec<String>> {
        let mut select =
            self.db.prepare_cached("SELECT word FROM kin_word WHERE model = ?1 AND is_own = ?2")?;
        select.query_map(params![model, is_own], |row| row.get(0))?.collect()
    }

    fn with_word(&self, word: &str, is_own: bool) -> rusqlite::Result<Vec<String>> {
        let mut select =
            self.db.prepare_cached("SELECT model FROM kin_word WHERE word = ?1 AND is_own = ?2")?;
        select.query_map(params![word, is_own], |row| row.get(0))?.collect()
    }

    /// What may go with a model, by the one number or word that they must have in common; few of all.
    pub fn parts(&self, asked: &Part) -> anyhow::Result<Vec<(String, Part)>> {
        let mut select = self.db.prepare_cached(
            "SELECT model, part FROM kin WHERE kind = 'vision-projector' AND width = ?1
             UNION ALL SELECT model, part FROM kin WHERE kind = 'llm' AND tokens = ?2
             UNION ALL SELECT model, part FROM kin WHERE kind = 'lora' AND family IS ?3
             UNION ALL SELECT model, part FROM kin WHERE kind IN ('vae', 'text-encoder') AND family = ?3",
        )?;
        let width = asked.meeting_width().map(u64::cast_signed);
        let rows = select.query_map(params![width, asked.tokens(), asked.family], |row| {
            Ok((row.get(0)?, json(row.get_ref(1)?.as_str()?, 1)?))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether there is any projector of this model's width.
    pub fn has_projector_for(&self, asked: &Part) -> anyhow::Result<bool> {
        let mut select = self.db.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM kin WHERE kind = 'vision-projector' AND width = ?1)",
        )?;
        Ok(select.query_row([asked.meeting_width().map(u64::cast_signed)], |row| row.get(0))?)
    }

    /// What a file of a model was seen to be.
    pub fn verdict(&self, path: &Path) -> anyhow::Result<Option<Verdict>> {
        Ok(models::verdict(&self.db, path)?)
    }
}
