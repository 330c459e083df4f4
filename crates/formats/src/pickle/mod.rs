//! Pickles and the checkpoints made of them: which names loading one would reach, and which tensors it describes.
//! Follows a pickle as a list of steps; nothing that it names is ever imported, made or called.

mod call;
mod globals;
mod heap;
mod legacy;
mod machine;
mod npy;
mod opcode;
mod state;
#[cfg(test)]
mod tests;
mod torch;

use crate::{Error, Input, cursor::Cursor, quoted};
pub use globals::Standing;
use machine::Built;
use std::collections::HashMap;

/// What a file with pickles in it says.
#[derive(Debug, Default)]
pub struct Header {
    pub layout: Layout,
    /// What loading would reach, each name once, in the order of the file.
    pub globals: Vec<Global>,
    /// Why nobody can vouch for it, besides names that are not known.
    pub doubts: Vec<String>,
    /// Whether a loader does more with it than to stop at once: bytes of anything may begin like a pickle. Of an archive,
    /// whether a member is one.
    pub is_pickle: bool,
    /// Where it contradicts itself or breaks off, or became too large to be followed. A loader runs what comes before
    /// that all the same.
    pub damage: Option<Error>,
    /// The model's tensors by name; those of an optimizer are not among them.
    pub tensors: Vec<Tensor>,
    /// Where the last storage ends, bytes from the start of the file; None where that is not told.
    pub data_end: Option<u64>,
}

/// How the pickles are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// One pickle or several, and nothing else.
    #[default]
    Bare,
    /// What `torch.save` has written since 1.6.
    TorchZip,
    /// What it wrote before: five pickles and the storages.
    TorchLegacy,
    /// What it wrote before that.
    TorchTar,
    /// A zip archive of other pickles.
    Zip,
    /// NumPy's arrays of Python objects.
    NumPy,
}

/// A name that loading would reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Global {
    pub module: String,
    pub name: String,
    pub standing: Standing,
    /// Whether it is called, not only looked up.
    pub is_called: bool,
    /// The member of an archive that it is in.
    pub member: Option<String>,
    /// Bytes from the start of the file, or of a member that is compressed.
    pub at: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    /// In the words of safetensors, `F16`; `C128` and those beginning with `Q` are torch's alone.
    pub dtype: String,
    /// Elements per dimension, slowest first.
    pub shape: Vec<u64>,
    /// Bytes of its elements.
    pub size: u64,
}

/// Steps of all pickles in a file; 20,000 tensors take about a million.
const MAX_STEPS: u32 = 1 << 20;
/// Of bytes that are no pickle, 27 of 100 are a step; more than a few in a row there are not.
const FEW_STEPS: u32 = 16;
/// Names of one standing that are kept; a whole-model pickle has a few dozen.
const MAX_GLOBALS: usize = 256;
const MAX_DOUBTS: usize = 16;
/// Steps that a new name or a doubt counts for: looking at them takes longer than a step of the machine.
const COST: u32 = 64;
/// Bytes of a name that count for a step, each time that it is reached.
const BYTES_A_STEP: usize = 64;
/// A pickle behind which others follow: no file has more of them than a legacy checkpoint by far.
const MAX_PICKLES: usize = 64;

/// What is found while a file is followed.
#[derive(Debug, Default)]
struct Findings {
    globals: Vec<Global>,
    /// Places in that list, by module and name.
    places: HashMap<String, usize>,
    doubts: Vec<String>,
    damage: Option<String>,
    member: Option<String>,
    at: u64,
    /// What following it has cost; at least one for each step.
    steps: u32,
    followed: u32,
    /// It calls something that is not harmless.
    calls: bool,
    /// It goes on where it was no longer followed.
    is_cut: bool,
}

/// Reads a file that is made of pickles, whatever it is wrapped in. `BadMagic` where nothing of it is one.
pub fn parse(input: &mut impl Input) -> Result<Header, Error> {
    const HEAD: usize = 300;
    let head = input.view(0, HEAD)?;
    if head.starts_with(b"PK") {
        return torch::parse(input);
    }
    if head.starts_with(npy::MAGIC) {
        return npy::parse(input);
    }
    if head.starts_with(legacy::MAGIC) {
        return legacy::parse(input);
    }
    if legacy::is_tar(head) {
        return legacy::parse_tar(input);
    }
    parse_bare(input)
}

/// Reads a zip archive by its end record, whatever stands before it. `BadMagic` where no pickle is in it.
pub fn parse_zip(input: &mut impl Input) -> Result<Header, Error> {
    torch::parse(input)
}

/// Follows one pickle after another, whatever else the first bytes are the magic of.
pub fn parse_bare(input: &mut impl Input) -> Result<Header, Error> {
    let mut findings = Findings::default();
    let length = input.len();
    let (first, end) = match follow_one(input, 0..length, &mut findings) {
        Ok(built) => built,
        Err(Error::Io(error)) => return Err(error.into()),
        Err(error) if findings.globals.is_empty() && findings.doubts.is_empty() && !findings.is_pickle() => {
            return Err(error);
        }
        Err(error) => return Ok(findings.header(Layout::Bare, Vec::new()).damaged(error)),
    };
    follow_rest(input, end..length, &mut findings)?;
    if !first.heap.storages.is_empty() {
        findings.damage("its tensors are in storages that are not here".to_owned());
    }
    let tensors = state::tensors(&first, &mut findings);
    Ok(findings.header(Layout::Bare, tensors))
}

/// Follows the pickle that begins a range, and returns it with its end.
fn follow_one(
    input: &mut impl Input,
    range: std::ops::Range<u64>,
    findings: &mut Findings,
) -> Result<(Built, u64), Error> {
    let mut cursor = Cursor::within(input, range);
    let built = machine::follow(&mut cursor, findings)?;
    Ok((built, cursor.at()))
}

/// Follows what stands behind a pickle: others, or what is none.
fn follow_rest(
    input: &mut impl Input,
    range: std::ops::Range<u64>,
    findings: &mut Findings,
) -> Result<(), Error> {
    let mut at = range.start;
    for _ in 0..MAX_PICKLES {
        if at >= range.end {
            return Ok(());
        }
        match follow_one(input, at..range.end, findings) {
            Ok((_, end)) => at = end,
            Err(Error::Io(error)) => return Err(error.into()),
            Err(error) => {
                findings
                    .doubt(format!("{} bytes behind its end are no whole pickle: {error}", range.end - at));
                return Ok(());
            }
        }
    }
    findings.doubt(format!("more than {MAX_PICKLES} pickles follow each other"));
    Ok(())
}

impl Header {
    /// Whether every name is on the list of those that only rebuild tensors, and nothing else is in doubt.
    pub fn is_tensors_only(&self) -> bool {
        self.doubts.is_empty()
            && self.damage.is_none()
            && self.globals.iter().all(|global| global.standing == Standing::Harmless)
    }

    /// What would run code or reach outside the process, if anything.
    pub fn dangers(&self) -> impl Iterator<Item = &Global> {
        self.globals.iter().filter(|global| global.standing == Standing::Dangerous)
    }

    fn damaged(mut self, error: Error) -> Self {
        self.damage = Some(error);
        self
    }
}

impl Findings {
    fn step(&mut self, cursor: &Cursor<'_, impl Input>) -> Result<(), Error> {
        self.at = cursor.at();
        self.steps = self.steps.saturating_add(1);
        self.followed = self.followed.saturating_add(1);
        if self.steps > MAX_STEPS {
            self.is_cut = true;
            let what = "it has more steps than any model needs".to_owned();
            return Err(Error::TooLarge { what, limit: self.at });
        }
        Ok(())
    }

    /// Notes a name that is reached, and returns its place in the list.
    fn global(&mut self, module: &str, name: &str) -> usize {
        let key = format!("{}:{module}{name}", module.len());
        self.steps = self.steps.saturating_add(u32::try_from(key.len() / BYTES_A_STEP).unwrap_or(u32::MAX));
        if let Some(at) = self.places.get(&key) {
            return *at;
        }
        self.steps = self.steps.saturating_add(COST);
        let standing = globals::standing(module, name);
        let alike = |global: &&Global| global.standing == standing;
        if self.globals.iter().filter(alike).count() >= MAX_GLOBALS {
            self.doubt("it reaches more names than any model needs".to_owned());
            return self.globals.iter().position(|global| alike(&global)).unwrap_or_default();
        }
        self.places.insert(key, self.globals.len());
        self.globals.push(Global {
            module: module.to_owned(),
            name: name.to_owned(),
            standing,
            is_called: false,
            member: self.member.clone(),
            at: self.at,
        });
        self.globals.len() - 1
    }

    fn call(&mut self, global: usize) {
        self.calls = true;
        if let Some(global) = self.globals.get_mut(global) {
            global.is_called = true;
        }
    }

    fn name(&self, global: usize) -> &str {
        self.globals.get(global).map(|global| global.name.as_str()).unwrap_or_default()
    }

    fn standing(&self, global: usize) -> Standing {
        self.globals.get(global).map_or(Standing::Unknown, |global| global.standing)
    }

    fn has_danger(&self) -> bool {
        self.globals.iter().any(|global| global.standing == Standing::Dangerous)
    }

    /// For a look at the same member that may come to nothing.
    fn apart(&self) -> Self {
        Self { member: self.member.clone(), steps: self.steps, ..Self::default() }
    }

    /// Takes over what such a look found.
    fn absorb(&mut self, apart: Self) {
        for global in apart.globals {
            self.at = global.at;
            let at = self.global(&global.module, &global.name);
            if global.is_called {
                self.call(at);
            }
        }
        apart.doubts.into_iter().for_each(|doubt| self.doubt_whole(doubt));
        self.calls |= apart.calls;
        self.is_cut |= apart.is_cut;
    }

    /// Whether a loader does more with it than to stop: a few bytes of anything are steps of a pickle.
    fn is_pickle(&self) -> bool {
        self.calls || self.is_cut || self.has_danger() || self.followed >= FEW_STEPS
    }

    fn doubt(&mut self, why: String) {
        self.steps = self.steps.saturating_add(COST);
        match &self.member {
            Some(member) => self.doubt_whole(format!("{}: {why}", quoted(member))),
            None => self.doubt_whole(why),
        }
    }

    /// Doubts the file, whatever member of it is looked at.
    fn doubt_whole(&mut self, why: String) {
        if self.doubts.len() < MAX_DOUBTS && !self.doubts.contains(&why) {
            self.doubts.push(why);
        }
    }

    fn damage(&mut self, what: String) {
        let what = match &self.member {
            Some(member) => format!("{}: {what}", quoted(member)),
            None => what,
        };
        self.damage.get_or_insert(what);
    }

    fn header(self, layout: Layout, tensors: Vec<Tensor>) -> Header {
        let is_pickle = self.is_pickle();
        let damage = self.damage.map(|what| Error::Corrupt { what, at: self.at });
        let Self { globals, doubts, .. } = self;
        Header { layout, globals, doubts, is_pickle, damage, tensors, data_end: None }
    }
}
