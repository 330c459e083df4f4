//! From what a pickle built to the tensors of a model, by their names. Optimizers and the like are left out.

use super::{
    Findings, Tensor,
    heap::{Heap, Value},
    machine::Built,
};
use std::collections::HashSet;

/// Steps over containers; one may be in itself, or in a thousand others.
const MAX_STEPS: usize = 1 << 18;
const MAX_DEPTH: usize = 24;
const MAX_NAME: usize = 512;
/// Bytes of all names; 20,000 tensors have about 2 MiB.
const MAX_NAMES: usize = 4 << 20;

/// Where training tools and apps keep a model's weights among other things.
const MODELS: &[&str] = &[
    "state_dict",
    "model_state_dict",
    "params_ema",
    "params",
    "model_state",
    "model",
    "module",
    "net",
    "generator",
];
/// What lies beside the weights and is as large.
const BESIDE: &[&str] =
    &["optimizer", "optimizers", "optimizer_states", "optimizer_state_dict", "optim", "ema_optimizer"];
/// How `torch.nn.Module` keeps what it is made of.
const PARTS: &[&str] = &["_parameters", "_buffers", "_modules"];

/// Returns the model's tensors, each once.
pub(super) fn tensors(built: &Built, findings: &mut Findings) -> Vec<Tensor> {
    let mut walk = Walk::over(&built.heap);
    let inner =
        MODELS.iter().find_map(|key| walk.find(built.root, key).filter(|found| walk.has_tensors(*found)));
    walk.steps = 0;
    walk.gather(inner.unwrap_or(built.root), "", 0);
    if walk.names > MAX_NAMES {
        findings.doubt_whole("its tensors have longer names than any model's".to_owned());
    }
    walk.tensors
}

struct Walk<'a> {
    heap: &'a Heap,
    steps: usize,
    /// Bytes of names so far.
    names: usize,
    tensors: Vec<Tensor>,
    /// Storage, offset and shape of those that are there: tied weights have two names.
    seen: HashSet<(usize, i64, &'a [u64])>,
}

impl<'a> Walk<'a> {
    fn over(heap: &'a Heap) -> Self {
        Self { heap, steps: 0, names: 0, tensors: Vec::new(), seen: HashSet::new() }
    }

    /// A container below one of the root's own keys.
    fn find(&self, root: Value, key: &str) -> Option<Value> {
        let entries = self.heap.dict(root)?;
        let found =
            entries.iter().find(|(name, _)| self.heap.text(*name) == Some(key)).map(|(_, value)| *value);
        found.filter(|found| matches!(found, Value::Dict(_)))
    }

    fn has_tensors(&self, value: Value) -> bool {
        let mut walk = Walk::over(self.heap);
        walk.gather(value, "", 0);
        !walk.tensors.is_empty()
    }

    fn gather(&mut self, value: Value, path: &str, depth: usize) {
        self.steps += 1;
        if self.steps > MAX_STEPS || depth > MAX_DEPTH || path.len() > MAX_NAME {
            return;
        }
        match value {
            Value::Tensor(at) => self.add(at, path),
            Value::Dict(_) => {
                for (key, value) in self.heap.dict(value).unwrap_or_default() {
                    self.entry(*key, *value, path, depth);
                }
            }
            Value::List(_) | Value::Tuple(_) => {
                for (at, item) in self.heap.items(value).unwrap_or_default().iter().enumerate() {
                    if self.steps > MAX_STEPS {
                        return;
                    }
                    self.gather(*item, &joined(path, &at.to_string()), depth + 1);
                }
            }
            Value::Opaque
            | Value::None
            | Value::Int(_)
            | Value::Text(_)
            | Value::Global(_)
            | Value::Storage(_) => {}
        }
    }

    fn entry(&mut self, key: Value, value: Value, path: &str, depth: usize) {
        if self.steps > MAX_STEPS {
            return;
        }
        // State that an object was given, or pairs that a dictionary was made of.
        if key == Value::None {
            return self.given(value, path, depth);
        }
        let number = if let Value::Int(at) = key { at.to_string() } else { String::new() };
        let name = self.heap.text(key).unwrap_or(&number);
        if depth == 0 && BESIDE.contains(&name) {
            return;
        }
        let below = if PARTS.contains(&name) { path.to_owned() } else { joined(path, name) };
        self.gather(value, &below, depth + 1);
    }

    fn given(&mut self, value: Value, path: &str, depth: usize) {
        let Some(items) = self.heap.items(value) else { return self.gather(value, path, depth + 1) };
        for item in items {
            self.steps += 1;
            match self.heap.items(*item) {
                _ if self.steps > MAX_STEPS || depth > MAX_DEPTH => return,
                Some([key, value]) if *key != Value::None => self.entry(*key, *value, path, depth + 1),
                _ => self.gather(*item, path, depth + 1),
            }
        }
    }

    fn add(&mut self, at: usize, path: &str) {
        if let Some(view) = self.heap.tensors.get(at)
            && self.seen.insert((view.storage, view.offset, &view.shape))
        {
            self.names += path.len();
            if self.names > MAX_NAMES {
                return;
            }
            let (dtype, shape) = (view.dtype.to_owned(), view.shape.clone());
            self.tensors.push(Tensor { name: path.to_owned(), dtype, shape, size: view.bytes });
        }
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
