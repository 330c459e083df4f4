//! The stack machine that a pickle is a program for. Follows what it would build; calls nothing.

use super::{
    Findings, Standing,
    heap::{Extent, Full, Heap, MAX_EXPANDED, MAX_NESTING, Value},
    opcode::{self, Op},
};
use crate::{Error, Input, cursor::Cursor};

/// A pickle that was followed to its end.
pub(super) struct Built {
    pub(super) heap: Heap,
    pub(super) root: Value,
}

pub(super) struct Machine<'f> {
    pub(super) findings: &'f mut Findings,
    pub(super) heap: Heap,
    stack: Vec<Value>,
    /// Heights of the stack at open marks.
    marks: Vec<usize>,
    /// It was doubted that its containers are a model's.
    is_large: bool,
}

/// Readers keep the memo as a table; places are taken in turn.
const MAX_PLACE: u64 = 1 << 24;
/// Protocols that there are.
const NEWEST_PROTOCOL: u8 = 5;

/// Follows one pickle up to its STOP. What was found before an error stays found.
pub(super) fn follow(cursor: &mut Cursor<'_, impl Input>, findings: &mut Findings) -> Result<Built, Error> {
    let (stack, marks) = (Vec::new(), Vec::new());
    let mut machine = Machine { findings, heap: Heap::default(), stack, marks, is_large: false };
    loop {
        machine.findings.step(cursor)?;
        let op = opcode::read(cursor)?;
        if op == Op::Stop {
            let Some(root) = machine.stack.pop() else { return cursor.corrupt("it ends without a value") };
            return Ok(Built { heap: machine.heap, root });
        }
        match machine.perform(op) {
            Ok(()) => {}
            Err(Halt::Wrong(what)) => return cursor.corrupt(what),
            Err(Halt::Full) => {
                machine.findings.is_cut = true;
                let what = "it builds more than any model has".to_owned();
                return Err(Error::TooLarge { what, limit: cursor.at() });
            }
        }
    }
}

/// Why a pickle cannot be followed any further.
pub(super) enum Halt {
    Wrong(&'static str),
    Full,
}

impl From<Full> for Halt {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl Machine<'_> {
    fn perform(&mut self, op: Op) -> Result<(), Halt> {
        match op {
            Op::Nothing | Op::Stop => {}
            Op::TooLong => return Err(Halt::Full),
            Op::Protocol(version) => self.protocol(version),
            Op::Mark => self.marks.push(self.stack.len()),
            Op::Pop => self.drop_top()?,
            Op::PopMark => drop(self.since_mark()?),
            Op::Dup => self.push(self.top()?),
            Op::None => self.push(Value::None),
            Op::Int(number) => self.push(Value::Int(number)),
            Op::Text(text) => self.text(text)?,
            Op::Opaque | Op::EmptySet => self.push(Value::Opaque),
            Op::FrozenSet => self.frozen_set()?,
            Op::Get(at) => self.recall(at)?,
            Op::Put(at) => self.keep(at)?,
            Op::Memoize => self.heap.remember(self.heap.next_memo(), self.top()?)?,
            Op::EmptyTuple | Op::TupleOf(0) => self.tuple(Vec::new())?,
            Op::TupleOf(count) => self.short_tuple(count)?,
            Op::Tuple => self.long_tuple()?,
            Op::EmptyList => self.list(Vec::new())?,
            Op::List => self.filled_list()?,
            Op::EmptyDict => self.dict(Vec::new())?,
            Op::Dict => self.filled_dict()?,
            Op::Append => self.append()?,
            Op::Appends => self.appends()?,
            Op::AddItems => self.add_items()?,
            Op::SetItem => self.set_item()?,
            Op::SetItems => self.set_items()?,
            Op::Global { module, name } => self.reach(&module, &name),
            Op::StackGlobal => self.stack_global()?,
            Op::Inst { module, name } => self.inst(&module, &name)?,
            Op::Obj => self.obj()?,
            Op::NewObj | Op::Reduce => self.make()?,
            Op::NewObjEx => self.make_with_names()?,
            Op::Build => self.build()?,
            Op::PersId => self.refer(Value::Opaque)?,
            Op::BinPersId => self.persistent()?,
            Op::Extension => self.doubted("it uses a name that only the process that loads it knows"),
            Op::Buffer => self.doubted("it uses bytes that are handed over beside it"),
        }
        Ok(())
    }

    fn protocol(&mut self, version: u8) {
        if version > NEWEST_PROTOCOL {
            self.findings.doubt(format!("it says that it is of protocol {version}, which there is not"));
        }
    }

    fn doubted(&mut self, why: &str) {
        self.findings.doubt(why.to_owned());
        self.push(Value::Opaque);
    }

    fn text(&mut self, text: Option<String>) -> Result<(), Halt> {
        let value = text.map_or(Ok(Value::Opaque), |text| self.heap.new_text(&text))?;
        self.push(value);
        Ok(())
    }

    fn frozen_set(&mut self) -> Result<(), Halt> {
        drop(self.since_mark()?);
        self.push(Value::Opaque);
        Ok(())
    }

    fn recall(&mut self, at: u64) -> Result<(), Halt> {
        let value = self.heap.remembered(at).ok_or(Halt::Wrong("it recalls what it never kept"))?;
        self.push(value);
        Ok(())
    }

    fn keep(&mut self, at: u64) -> Result<(), Halt> {
        if at > MAX_PLACE {
            self.findings.doubt(format!("it keeps something at place {at} of its memo"));
        }
        Ok(self.heap.remember(at, self.top()?)?)
    }

    fn short_tuple(&mut self, count: usize) -> Result<(), Halt> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.tuple(items)
    }

    fn long_tuple(&mut self) -> Result<(), Halt> {
        let items = self.since_mark()?;
        self.tuple(items)
    }

    fn tuple(&mut self, items: Vec<Value>) -> Result<(), Halt> {
        let tuple = self.heap.new_tuple(items)?;
        self.made(tuple);
        Ok(())
    }

    fn filled_list(&mut self) -> Result<(), Halt> {
        let items = self.since_mark()?;
        self.list(items)
    }

    fn list(&mut self, items: Vec<Value>) -> Result<(), Halt> {
        let list = self.heap.new_list(items)?;
        self.made(list);
        Ok(())
    }

    fn filled_dict(&mut self) -> Result<(), Halt> {
        let entries = pairs(&self.since_mark()?)?;
        self.dict(entries)
    }

    fn dict(&mut self, entries: Vec<(Value, Value)>) -> Result<(), Halt> {
        let dict = self.heap.new_dict(entries)?;
        self.made(dict);
        Ok(())
    }

    fn made(&mut self, container: Value) {
        self.weigh(self.heap.extent(container));
        self.push(container);
    }

    fn append(&mut self) -> Result<(), Halt> {
        let item = self.pop()?;
        let grown = self.heap.extend_list(self.top()?, &[item]);
        self.filled(grown);
        Ok(())
    }

    fn appends(&mut self) -> Result<(), Halt> {
        let items = self.since_mark()?;
        let grown = self.heap.extend_list(self.top()?, &items);
        self.filled(grown);
        Ok(())
    }

    fn add_items(&mut self) -> Result<(), Halt> {
        drop(self.since_mark()?);
        let is_set = self.top()? == Value::Opaque;
        self.filled(is_set.then(Extent::default));
        Ok(())
    }

    fn set_item(&mut self) -> Result<(), Halt> {
        let (value, key) = (self.pop()?, self.pop()?);
        let grown = self.heap.extend_dict(self.top()?, &[(key, value)]);
        self.filled(grown);
        Ok(())
    }

    fn set_items(&mut self) -> Result<(), Halt> {
        let entries = pairs(&self.since_mark()?)?;
        let grown = self.heap.extend_dict(self.top()?, &entries);
        self.filled(grown);
        Ok(())
    }

    fn filled(&mut self, grown: Option<Extent>) {
        match grown {
            Some(extent) => self.weigh(extent),
            None => self.findings.doubt("it puts items into what is no list or dictionary".to_owned()),
        }
    }

    /// Doubts what would grow out of bounds in whoever reads it without care.
    fn weigh(&mut self, extent: Extent) {
        let is_large = extent.nesting > MAX_NESTING || extent.expanded > MAX_EXPANDED;
        if is_large && !self.is_large {
            self.is_large = true;
            self.findings.doubt("its containers hold each other more often than any model needs".to_owned());
        }
    }

    fn reach(&mut self, module: &str, name: &str) {
        let global = self.findings.global(module, name);
        self.push(Value::Global(global));
    }

    fn stack_global(&mut self) -> Result<(), Halt> {
        let (name, module) = (self.pop()?, self.pop()?);
        let text = |value| self.heap.text(value).map(str::to_owned);
        if let (Some(module), Some(name)) = (text(module), text(name)) {
            self.reach(&module, &name);
        } else {
            self.findings.doubt("it reaches a name that it makes itself, or hides".to_owned());
            self.push(Value::Opaque);
        }
        Ok(())
    }

    fn inst(&mut self, module: &str, name: &str) -> Result<(), Halt> {
        let arguments = self.since_mark()?;
        let arguments = self.heap.new_tuple(arguments)?;
        let callee = Value::Global(self.findings.global(module, name));
        self.call_and_push(callee, arguments)
    }

    fn obj(&mut self) -> Result<(), Halt> {
        let mut items = self.since_mark()?.into_iter();
        let callee = items.next().ok_or(Halt::Wrong("it makes an object of nothing"))?;
        let arguments = self.heap.new_tuple(items.collect())?;
        self.call_and_push(callee, arguments)
    }

    fn make(&mut self) -> Result<(), Halt> {
        let arguments = self.pop()?;
        let callee = self.pop()?;
        self.call_and_push(callee, arguments)
    }

    fn make_with_names(&mut self) -> Result<(), Halt> {
        self.pop()?;
        self.make()
    }

    fn call_and_push(&mut self, callee: Value, arguments: Value) -> Result<(), Halt> {
        let made = self.call(callee, arguments)?;
        self.push(made);
        Ok(())
    }

    /// Gives an object its state.
    fn build(&mut self) -> Result<(), Halt> {
        let state = self.pop()?;
        let into = self.top()?;
        if matches!(into, Value::Global(_) | Value::Tensor(_) | Value::Storage(_)) {
            self.findings.doubt("it changes a class or a tensor that was there before".to_owned());
        }
        if let Some(extent) = self.heap.extend_dict(into, &[(Value::None, state)]) {
            self.weigh(extent);
        }
        Ok(())
    }

    /// Whether a name only rebuilds tensors.
    pub(super) fn is_harmless(&self, value: Value) -> bool {
        matches!(value, Value::Global(at) if self.findings.standing(at) == Standing::Harmless)
    }

    pub(super) fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    fn top(&self) -> Result<Value, Halt> {
        let value = self.stack.get(self.floor()..).and_then(<[Value]>::last);
        value.copied().ok_or(Halt::Wrong("it takes from an empty stack"))
    }

    pub(super) fn pop(&mut self) -> Result<Value, Halt> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    /// POP takes a mark where nothing lies on it.
    fn drop_top(&mut self) -> Result<(), Halt> {
        if self.stack.len() > self.floor() || self.marks.is_empty() {
            return self.pop().map(drop);
        }
        self.marks.pop();
        Ok(())
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, Halt> {
        let mark = self.marks.pop().ok_or(Halt::Wrong("it goes back to a mark that is not there"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }
}

fn pairs(items: &[Value]) -> Result<Vec<(Value, Value)>, Halt> {
    let (pairs, rest) = items.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    } else {
        Err(Halt::Wrong("a key without a value"))
    }
}
