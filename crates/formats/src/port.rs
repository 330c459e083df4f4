//! What goes into a graph and comes out of it, and the tensors it holds, in the same words for every format of graphs.

/// An input or output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Port {
    pub name: String,
    /// `F32`, `I64`; what is no tensor by its own name: `image`.
    pub dtype: Option<String>,
    /// A number, a symbol, or `?` for each dimension; None where even their count is unknown.
    pub shape: Option<Vec<String>>,
}

/// Tensors of one type, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeCount {
    pub dtype: String,
    pub tensors: u64,
    pub elements: u64,
    pub bytes: u64,
}

/// How often a kind of operation or tensor occurs; of a hostile file's only the first kinds are kept.
#[derive(Debug, Default)]
pub(crate) struct Tally<T>(Vec<(String, T)>);

/// ONNX has about 200 operators, OpenVINO fewer.
const MAX_KINDS: usize = 512;
/// Bytes of a name.
const MAX_KIND: usize = 256;

impl<T: Default> Tally<T> {
    /// Returns what is counted under a name; None where there are too many names.
    pub(crate) fn of(&mut self, name: &str) -> Option<&mut T> {
        if let Some(at) = self.0.iter().position(|(known, _)| known == name) {
            return self.0.get_mut(at).map(|(_, count)| count);
        }
        if self.0.len() >= MAX_KINDS || name.len() > MAX_KIND {
            return None;
        }
        self.0.push((name.to_owned(), T::default()));
        self.0.last_mut().map(|(_, count)| count)
    }
}

impl Tally<u64> {
    pub(crate) fn add(&mut self, name: &str) {
        if let Some(count) = self.of(name) {
            *count += 1;
        }
    }

    /// The most frequent first.
    pub(crate) fn sorted(mut self) -> Vec<(String, u64)> {
        self.0.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        self.0
    }
}

#[derive(Debug, Default)]
pub(crate) struct Size {
    tensors: u64,
    elements: u64,
    bytes: u64,
}

impl Tally<Size> {
    pub(crate) fn add(&mut self, dtype: &str, elements: u64, bytes: u64) {
        if let Some(size) = self.of(dtype) {
            size.tensors += 1;
            size.elements = size.elements.saturating_add(elements);
            size.bytes = size.bytes.saturating_add(bytes);
        }
    }

    pub(crate) fn counts(self) -> Vec<TypeCount> {
        let count =
            |(dtype, Size { tensors, elements, bytes })| TypeCount { dtype, tensors, elements, bytes };
        self.0.into_iter().map(count).collect()
    }
}

/// Elements of a shape and their bytes, the last one filled up; None where that is more than any memory.
pub(crate) fn bytes_of(shape: impl IntoIterator<Item = u64>, bits: u64) -> Option<(u64, u64)> {
    let mut dims = shape.into_iter();
    let elements =
        dims.try_fold(1_u64, |product, dim| i64::try_from(dim).ok().and(product.checked_mul(dim)))?;
    Some((elements, elements.checked_mul(bits)?.div_ceil(8)))
}

/// A file beside a model that holds its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// As the file writes it: a path from its own directory.
    pub location: String,
    /// How long that file must be at least, bytes.
    pub end: u64,
}

impl External {
    /// Whether it lies in the model's directory or below: one that does not is never looked at.
    pub fn is_inside(&self) -> bool {
        let mut parts = self.location.split('/').filter(|part| *part != ".").peekable();
        let is_odd = self.location.contains(|c: char| c == '\\' || c.is_control());
        !is_odd && parts.peek().is_some() && parts.all(|part| !part.is_empty() && part != "..")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_beside_a_model_or_below_is_inside() {
        let is_inside = |location: &str| External { location: location.to_owned(), end: 0 }.is_inside();
        for location in ["model.onnx_data", "./a", "sub/w.bin", "..data", "日本"] {
            assert!(is_inside(location), "{location}");
        }
        for location in
            ["", ".", "..", "/etc/passwd", "../a", "a/../../b", "a/..", "a//b", "..\\a", "a\0b", "a\n", "a/"]
        {
            assert!(!is_inside(location), "{location:?}");
        }
    }
}
