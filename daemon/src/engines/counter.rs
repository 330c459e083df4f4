//! The tool of an engine that counts what settings take: where it lies, and what it says.

use super::{
    Found,
    ask::{ask, ask_within},
    is_executable,
};
use domain::engines::{self, Counted, Engine, Program};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

/// It reads the vocabulary and lays out graphs: a second or two, more from a slow disk.
const COUNTING: Duration = Duration::from_secs(60);

/// The first of these programs that lies beside another, or beside where a link to that one leads.
pub(crate) fn beside(programs: &'static [Program], server: &Path) -> Option<Found> {
    let real = server.canonicalize().ok();
    let dirs: Vec<PathBuf> = [Some(server), real.as_deref()]
        .into_iter()
        .flatten()
        .filter_map(Path::parent)
        .map(Path::to_owned)
        .collect();
    let places =
        programs.iter().flat_map(|program| dirs.iter().map(move |dir| (program, dir.join(program.name))));
    let mut there = places.filter(|(_, path)| is_executable(path));
    there.next().map(|(program, path)| Found { program: path, arguments: program.arguments, is_added: false })
}

/// What was counted, and the flags that were left out; else why there is nothing.
pub(crate) fn count(
    engine: &dyn Engine,
    counter: &Found,
    argv: &[OsString],
    environment: &BTreeMap<String, OsString>,
) -> Result<(BTreeMap<String, Counted>, Vec<String>), String> {
    let help: Vec<&str> = counter.arguments.iter().copied().chain(["--help"]).collect();
    let flags = engines::listed_flags(&ask(&counter.program, &help, environment)?.out);
    let (words, left_out) =
        engine.count(argv, &flags).ok_or("it has no --fit-print: it is too old to say")?;
    let words: Vec<OsString> = counter.arguments.iter().map(OsString::from).chain(words).collect();
    let said = ask_within(COUNTING, &counter.program, &words, environment)?;
    let counted = engine.counted(&said.out).ok_or("what it prints cannot be read")?;
    Ok((counted, left_out))
}
