//! `modelctl tree`: draws what the daemon says of a model's relatives, and works out none of it.

use crate::{
    context::Context,
    style::Style,
    text::{clean, shorten, width},
};
use anyhow::Result;
use api::Request;
use clap::Args;
use domain::{ByteSize, Tree, TreeNode};
use std::{
    ffi::OsString,
    io::{self, Write},
};

/// Show what a model was made from, and what was made from it
///
/// The oldest ancestors come first. Behind each stands who says how it was made from the one above: what an app wrote
/// down (recorded), what a card or the file itself says (claimed), what only names and places say (inferred). A model
/// that is named, and is not on this machine, has a `?`; an arrow points at the one that was asked for.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl tree Qwen3-8B-Q4_K_M
  modelctl tree llama3:8b --json
  modelctl tree my-lora --json | jq '.. | .repo? // empty'      every repository that is named")]
pub(crate) struct TreeArgs {
    /// Name, unique prefix, alias, id, an app's handle, or path
    model: OsString,
}

impl TreeArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let model = context.environment.model(&self.model);
        let Some(tree) = context.ask::<Tree>(&Request::Tree { model })? else { return Ok(()) };
        let marks = if context.environment.is_utf8() { &BOXES } else { &ASCII };
        let mut drawing =
            Drawing { out: context.out, style: context.style, room: context.environment.width, marks };
        for root in &tree.roots {
            drawing.node(root, "", "")?;
        }
        if tree.left_out > 0 {
            writeln!(context.out, "and {} more", tree.left_out)?;
        }
        Ok(())
    }
}

struct Marks {
    child: &'static str,
    last: &'static str,
    below: &'static str,
    arrow: &'static str,
}

const BOXES: Marks = Marks { child: "├─ ", last: "└─ ", below: "│  ", arrow: "◀" };
const ASCII: Marks = Marks { child: "|- ", last: "`- ", below: "|  ", arrow: "<" };

/// Less of a name tells models apart no longer.
const NARROWEST: usize = 20;

struct Drawing<'a> {
    out: &'a mut dyn Write,
    style: Style,
    room: Option<usize>,
    marks: &'static Marks,
}

impl Drawing<'_> {
    fn node(&mut self, node: &TreeNode, before: &str, below: &str) -> io::Result<()> {
        self.line(node, before)?;
        for (at, child) in node.children.iter().enumerate() {
            let is_last = at + 1 == node.children.len();
            let (branch, gap) =
                if is_last { (self.marks.last, "   ") } else { (self.marks.child, self.marks.below) };
            self.node(child, &format!("{below}{branch}"), &format!("{below}{gap}"))?;
        }
        Ok(())
    }

    /// A narrow terminal takes from who says it first, then from the name.
    fn line(&mut self, node: &TreeNode, before: &str) -> io::Result<()> {
        let Style { strong, faint, off, .. } = self.style;
        let relation = node.relation.map_or_else(String::new, |relation| format!("{relation}  "));
        let arrow = if node.is_asked { format!("  {}", self.marks.arrow) } else { String::new() };
        let behind = format!("{}{arrow}", details(node));
        let taken = width(before) + width(&relation) + width(&behind);
        let name = clean(&node.name);
        let name = match self.room {
            Some(room) => shorten(&name, room.saturating_sub(taken).max(NARROWEST)),
            None => name.as_ref().into(),
        };
        let left = self.room.map(|room| room.saturating_sub(taken + width(&name) + 2));
        let (strong, strong_off) = if node.is_asked { (strong, off) } else { ("", "") };
        write!(self.out, "{before}{faint}{relation}{off}{strong}{name}{strong_off}{behind}")?;
        if let Some(witness) = witness(node, left) {
            write!(self.out, "  {faint}{witness}{off}")?;
        }
        writeln!(self.out)
    }
}

/// Who says that it was made from the one above, as far as there is room.
fn witness(node: &TreeNode, room: Option<usize>) -> Option<String> {
    let confidence = node.confidence?;
    let first = node.evidence.first().map_or("", String::as_str);
    let forms = [
        format!("({confidence}: {})", clean(&node.evidence.join("; "))),
        format!("({confidence}: {}, …)", clean(first)),
        format!("({confidence})"),
    ];
    forms.into_iter().find(|form| room.is_none_or(|room| width(form) <= room))
}

fn details(node: &TreeNode) -> String {
    let tuning = node.is_instruct.map(|is_instruct| if is_instruct { "instruct" } else { "base" });
    let state = node.state.filter(|state| !state.is_usable());
    let words = [
        tuning.map(str::to_owned),
        node.quant.as_ref().map(|quant| clean(quant).into_owned()),
        node.size.map(|size| ByteSize(size).to_string()),
        state.map(|state| state.name().to_owned()),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    let words = if words.is_empty() { String::new() } else { format!("  {}", words.join(", ")) };
    let mark = if node.model_id.is_none() { "  ?" } else { "" };
    let again = if node.is_repeated { "  (see above)" } else { "" };
    format!("{words}{mark}{again}")
}
