//! Calls of what rebuilds tensors, by name and arguments: a description comes out. Any other call makes something
//! unknown, which was noted when its name was reached.

use super::{
    globals,
    heap::{Storage, Value, View},
    machine::{Halt, Machine},
};
use crate::quoted;

/// torch has no tensors of more dimensions.
const MAX_DIMS: usize = 64;
/// A tensor subclass is rebuilt by a call in a call; deeper ones do not occur.
const MAX_DEPTH: usize = 4;

impl Machine<'_> {
    pub(super) fn call(&mut self, callee: Value, arguments: Value) -> Result<Value, Halt> {
        self.call_within(callee, arguments, MAX_DEPTH)
    }

    fn call_within(&mut self, callee: Value, arguments: Value, depth: usize) -> Result<Value, Halt> {
        let Value::Global(at) = callee else {
            self.findings.calls = true;
            self.findings.doubt("it calls something that it made itself".to_owned());
            return Ok(Value::Opaque);
        };
        if !self.is_harmless(callee) {
            self.findings.call(at);
            return Ok(self.heap.new_dict(Vec::new())?);
        }
        let name = self.findings.name(at).to_owned();
        let given: Vec<Value> =
            self.heap.tuple(arguments).unwrap_or_default().iter().take(8).copied().collect();
        let first = given.first().copied().unwrap_or(Value::None);
        Ok(match name.as_str() {
            "OrderedDict" | "Counter" => {
                let from = given.iter().map(|from| (Value::None, *from)).collect();
                self.heap.new_dict(from)?
            }
            "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_qtensor" => self.tensor(&given, None)?,
            "_rebuild_tensor_v3" => self.tensor(&given, given.get(6).copied())?,
            "_rebuild_parameter" | "_rebuild_parameter_with_state" | "Parameter" => {
                if matches!(first, Value::Tensor(_)) { first } else { Value::Opaque }
            }
            "Size" => first,
            "_rebuild_from_type_v2" if depth > 0 => {
                let arguments = given.get(2).copied().unwrap_or(Value::None);
                self.call_within(first, arguments, depth - 1)?
            }
            "_rebuild_from_type_v2" => {
                self.findings.doubt("its tensors are wrapped too often".to_owned());
                Value::Opaque
            }
            _ => Value::Opaque,
        })
    }

    /// A view of a storage: storage, offset, shape and strides, the latter in elements.
    fn tensor(&mut self, given: &[Value], dtype: Option<Value>) -> Result<Value, Halt> {
        let [Value::Storage(at), Value::Int(offset), shape, strides, ..] = given else {
            self.findings.doubt("it rebuilds a tensor of something else than a storage".to_owned());
            return Ok(Value::Opaque);
        };
        let Some(storage) = self.heap.storages.get(*at).cloned() else { return Ok(Value::Opaque) };
        let element = match dtype {
            None => Some((storage.dtype, storage.width)),
            Some(Value::Global(at)) => globals::element(self.findings.name(at)),
            Some(_) => None,
        };
        let (Some((dtype, width)), Some(shape), Some(strides)) =
            (element, self.numbers(*shape), self.numbers(*strides))
        else {
            self.findings.doubt("it rebuilds a tensor in a way that is not known".to_owned());
            return Ok(Value::Opaque);
        };
        let Some(bytes) = size_within(&storage, *offset, &shape, &strides, width) else {
            self.findings.damage(format!("a tensor reaches outside its storage {}", quoted(&storage.key)));
            return Ok(Value::Opaque);
        };
        Ok(self.heap.new_tensor(View { storage: *at, offset: *offset, dtype, shape, bytes })?)
    }

    /// A tuple of whole numbers that are not negative.
    fn numbers(&self, value: Value) -> Option<Vec<u64>> {
        let number =
            |item: &Value| if let Value::Int(number) = item { u64::try_from(*number).ok() } else { None };
        let items = self.heap.items(value).filter(|items| items.len() <= MAX_DIMS)?;
        items.iter().map(number).collect()
    }

    pub(super) fn persistent(&mut self) -> Result<(), Halt> {
        let id = self.pop()?;
        self.refer(id)
    }

    /// Looks up `('storage', class, key, device, elements)`; old files say behind that what it is a view of.
    pub(super) fn refer(&mut self, id: Value) -> Result<(), Halt> {
        let value = match self.storage(id) {
            Some(storage) => self.add_storage(&storage)?,
            None => {
                self.findings
                    .doubt("it refers to something beside it that is no storage of a tensor".to_owned());
                Value::Opaque
            }
        };
        self.push(value);
        Ok(())
    }

    fn add_storage(&mut self, storage: &Storage) -> Result<Value, Halt> {
        let value = self.heap.storage(storage)?;
        let first = if let Value::Storage(at) = value { self.heap.storages.get(at) } else { None };
        if first.is_some_and(|first| first != storage) {
            self.findings.doubt(format!("it describes its storage {} in two ways", quoted(&storage.key)));
        }
        Ok(value)
    }

    fn storage(&self, id: Value) -> Option<Storage> {
        let [tag, class, key, _device, Value::Int(elements), ..] = self.heap.tuple(id)? else { return None };
        let Value::Global(at) = class else { return None };
        if self.heap.text(*tag) != Some("storage") || !self.is_harmless(*class) {
            return None;
        }
        let (dtype, width) = globals::element(self.findings.name(*at))?;
        let key =
            if let Value::Int(number) = key { number.to_string() } else { self.heap.text(*key)?.to_owned() };
        Some(Storage { key, dtype, width, elements: u64::try_from(*elements).ok()? })
    }
}

/// Returns the bytes of a tensor's elements, if all of them lie in the storage.
fn size_within(storage: &Storage, offset: i64, shape: &[u64], strides: &[u64], width: u64) -> Option<u64> {
    if shape.len() != strides.len() {
        return None;
    }
    let elements = shape.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim))?;
    let bytes = elements.checked_mul(width)?;
    let steps = shape.iter().zip(strides).try_fold(u64::try_from(offset).ok()?, |last, (dim, stride)| {
        last.checked_add(dim.saturating_sub(1).checked_mul(*stride)?)
    })?;
    let end = if elements == 0 { 0 } else { steps.checked_add(1)?.checked_mul(width)? };
    (end <= storage.elements.checked_mul(storage.width)?).then_some(bytes)
}
