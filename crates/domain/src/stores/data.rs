//! Which weight files only hold data of another one beside them. What is in them is never judged: it may look like
//! anything.

use super::{Found, FoundFile};
use crate::{Format, Role};
use std::path::Path;

impl Found {
    /// Returns whether a file only holds data of another one of these: its own bytes say nothing.
    pub fn is_data(&self, file: &FoundFile) -> bool {
        let lead = match self.hints.format {
            Some(Format::Onnx) => "onnx",
            Some(Format::OpenVino) => "xml",
            Some(Format::CoreMl) => "mlmodel",
            Some(Format::Diffusers) => return self.is_data_in_tree(file),
            _ => return false,
        };
        file.role == Role::Weights && !is_called(&file.path, lead)
    }

    /// A component of a tree may be a graph, and keep its data beside it.
    fn is_data_in_tree(&self, file: &FoundFile) -> bool {
        let is_graph = |path: &Path| is_called(path, "onnx") || is_called(path, "xml");
        let mut beside = self.files.iter().filter(|other| other.path.parent() == file.path.parent());
        file.role == Role::Weights && !is_graph(&file.path) && beside.any(|other| is_graph(&other.path))
    }
}

fn is_called(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|own| own.eq_ignore_ascii_case(extension))
}
