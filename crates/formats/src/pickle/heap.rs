//! What a pickle builds, as far as it tells tensors from other things. Holds descriptions, never what they describe.

use crate::quoted;
use std::collections::HashMap;

/// Lists, dictionaries and tuples in all; a checkpoint of 50,000 tensors has 200,000.
const MAX_CONTAINERS: usize = 1 << 18;
/// Bytes of text that are kept.
const MAX_TEXT: usize = 8 << 20;
const MAX_TEXTS: usize = 1 << 18;
const MAX_MEMO: usize = 1 << 19;
const MAX_TENSORS: usize = 1 << 16;
/// Dimensions of all tensors; real ones have up to five.
const MAX_DIMS: usize = 1 << 18;
/// Containers in each other; readers that go down by calling themselves end at about as many.
pub(super) const MAX_NESTING: u32 = 1000;
/// Things in a container, each as often as it is in there; a checkpoint has under a million.
pub(super) const MAX_EXPANDED: u64 = 1 << 24;

/// Something on the stack. What says nothing about code or tensors is `Opaque`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Opaque,
    None,
    Int(i64),
    Text(usize),
    /// Place in the list of names that were reached.
    Global(usize),
    Tuple(usize),
    List(usize),
    /// Also an object: what it holds, by name.
    Dict(usize),
    Storage(usize),
    Tensor(usize),
}

/// Bytes that tensors are views of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) key: String,
    pub(super) dtype: &'static str,
    /// Bytes of one element.
    pub(super) width: u64,
    pub(super) elements: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) storage: usize,
    /// Elements from the start of the storage.
    pub(super) offset: i64,
    pub(super) dtype: &'static str,
    pub(super) shape: Vec<u64>,
    pub(super) bytes: u64,
}

/// How large a container is for whoever walks through it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent {
    pub(super) nesting: u32,
    pub(super) expanded: u64,
}

#[derive(Debug)]
struct Held<T> {
    content: T,
    extent: Extent,
}

#[derive(Debug, Default)]
pub(super) struct Heap {
    texts: Vec<Box<str>>,
    text_bytes: usize,
    tuples: Vec<Held<Box<[Value]>>>,
    lists: Vec<Held<Vec<Value>>>,
    dicts: Vec<Held<Vec<(Value, Value)>>>,
    pub(super) storages: Vec<Storage>,
    by_key: HashMap<String, usize>,
    pub(super) tensors: Vec<View>,
    dims: usize,
    memo: HashMap<u64, Value>,
}

impl Storage {
    /// What is wrong where a tensor is of it and it is not there.
    pub(super) fn missing(&self) -> String {
        format!("a tensor is of the storage {}, which is not there", quoted(&self.key))
    }
}

/// There is no room for more: the pickle is larger than any model's.
pub(super) struct Full;

impl Heap {
    pub(super) fn text(&self, value: Value) -> Option<&str> {
        let Value::Text(at) = value else { return None };
        self.texts.get(at).map(AsRef::as_ref)
    }

    pub(super) fn tuple(&self, value: Value) -> Option<&[Value]> {
        let Value::Tuple(at) = value else { return None };
        self.tuples.get(at).map(|held| &*held.content)
    }

    /// The items of a list or a tuple.
    pub(super) fn items(&self, value: Value) -> Option<&[Value]> {
        let Value::List(at) = value else { return self.tuple(value) };
        self.lists.get(at).map(|held| held.content.as_slice())
    }

    pub(super) fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        let Value::Dict(at) = value else { return None };
        self.dicts.get(at).map(|held| held.content.as_slice())
    }

    /// Adds items to a list; None where it is none.
    pub(super) fn extend_list(&mut self, into: Value, items: &[Value]) -> Option<Extent> {
        let added = self.extent_of(items.iter());
        let Value::List(at) = into else { return None };
        let held = self.lists.get_mut(at)?;
        held.content.extend(items);
        Some(held.grow(added))
    }

    /// Adds entries to a dictionary or an object; None where it is none.
    pub(super) fn extend_dict(&mut self, into: Value, entries: &[(Value, Value)]) -> Option<Extent> {
        let added = self.extent_of(entries.iter().map(|(_, value)| value));
        let Value::Dict(at) = into else { return None };
        let held = self.dicts.get_mut(at)?;
        held.content.extend(entries);
        Some(held.grow(added))
    }

    pub(super) fn extent(&self, value: Value) -> Extent {
        let held = match value {
            Value::Tuple(at) => self.tuples.get(at).map(|held| held.extent),
            Value::List(at) => self.lists.get(at).map(|held| held.extent),
            Value::Dict(at) => self.dicts.get(at).map(|held| held.extent),
            Value::Opaque
            | Value::None
            | Value::Int(_)
            | Value::Text(_)
            | Value::Global(_)
            | Value::Storage(_)
            | Value::Tensor(_) => None,
        };
        held.unwrap_or_default()
    }

    /// What these make of a container that they are all in.
    fn extent_of<'v>(&self, items: impl Iterator<Item = &'v Value>) -> Extent {
        items.fold(Extent::default(), |sum, item| {
            let Extent { nesting, expanded } = self.extent(*item);
            let expanded = sum.expanded.saturating_add(expanded).saturating_add(1);
            Extent { nesting: sum.nesting.max(nesting.saturating_add(1)), expanded }
        })
    }

    pub(super) fn new_text(&mut self, text: &str) -> Result<Value, Full> {
        self.text_bytes += text.len();
        if self.text_bytes > MAX_TEXT || self.texts.len() >= MAX_TEXTS {
            return Err(Full);
        }
        self.texts.push(text.into());
        Ok(Value::Text(self.texts.len() - 1))
    }

    pub(super) fn new_tuple(&mut self, items: Vec<Value>) -> Result<Value, Full> {
        self.check_room()?;
        let extent = self.extent_of(items.iter());
        self.tuples.push(Held { content: items.into(), extent });
        Ok(Value::Tuple(self.tuples.len() - 1))
    }

    pub(super) fn new_list(&mut self, items: Vec<Value>) -> Result<Value, Full> {
        self.check_room()?;
        let extent = self.extent_of(items.iter());
        self.lists.push(Held { content: items, extent });
        Ok(Value::List(self.lists.len() - 1))
    }

    pub(super) fn new_dict(&mut self, entries: Vec<(Value, Value)>) -> Result<Value, Full> {
        self.check_room()?;
        let extent = self.extent_of(entries.iter().map(|(_, value)| value));
        self.dicts.push(Held { content: entries, extent });
        Ok(Value::Dict(self.dicts.len() - 1))
    }

    pub(super) fn new_tensor(&mut self, view: View) -> Result<Value, Full> {
        self.dims += view.shape.len();
        if self.tensors.len() >= MAX_TENSORS || self.dims > MAX_DIMS {
            return Err(Full);
        }
        self.tensors.push(view);
        Ok(Value::Tensor(self.tensors.len() - 1))
    }

    /// Returns the storage of this key, which is this one unless it was another one before.
    pub(super) fn storage(&mut self, storage: &Storage) -> Result<Value, Full> {
        if let Some(at) = self.by_key.get(&storage.key) {
            return Ok(Value::Storage(*at));
        }
        if self.storages.len() >= MAX_TENSORS {
            return Err(Full);
        }
        let at = self.storages.len();
        self.by_key.insert(storage.key.clone(), at);
        self.storages.push(storage.clone());
        Ok(Value::Storage(at))
    }

    pub(super) fn remembered(&self, at: u64) -> Option<Value> {
        self.memo.get(&at).copied()
    }

    pub(super) fn remember(&mut self, at: u64, value: Value) -> Result<(), Full> {
        if self.memo.len() >= MAX_MEMO {
            return Err(Full);
        }
        self.memo.insert(at, value);
        Ok(())
    }

    /// The next place that `MEMOIZE` takes.
    pub(super) fn next_memo(&self) -> u64 {
        self.memo.len() as u64
    }

    fn check_room(&self) -> Result<(), Full> {
        let held = self.tuples.len() + self.lists.len() + self.dicts.len();
        if held < MAX_CONTAINERS { Ok(()) } else { Err(Full) }
    }
}

impl<T> Held<T> {
    fn grow(&mut self, added: Extent) -> Extent {
        self.extent.nesting = self.extent.nesting.max(added.nesting);
        self.extent.expanded = self.extent.expanded.saturating_add(added.expanded);
        self.extent
    }
}
