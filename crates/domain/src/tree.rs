//! Who descends from whom, drawn for one model: from its oldest ancestors down to all that was made from them.

use crate::{
    Confidence, Kind, Relation, State,
    family::{Family, Node},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Lines of one answer; a base of thousands is cut here.
const MOST: usize = 500;
/// Of them the model's own line may take so many: it is always shown.
const MOST_ABOVE: usize = MOST / 2;
/// Generations above the model. A longer line is nobody's work.
const GENERATIONS: usize = 16;
/// Generations in all: readers of JSON refuse what nests deeper than 128, of which each takes two.
const DEEPEST: usize = 32;

/// All that is known to be related to one model, from its oldest ancestors down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// The model that was asked for.
    pub model_id: String,
    pub roots: Vec<TreeNode>,
    /// Relatives that are not shown.
    pub left_out: u64,
}

/// A model, or the name of one that is not here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TreeNode {
    /// None where it is only named.
    pub model_id: Option<String>,
    pub name: String,
    pub repo: Option<String>,
    /// To the node above, as are `confidence` and `evidence`.
    pub relation: Option<Relation>,
    pub confidence: Option<Confidence>,
    pub evidence: Vec<String>,
    pub kind: Option<Kind>,
    pub quant: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
    pub state: Option<State>,
    pub is_instruct: Option<bool>,
    /// It is the one that was asked for.
    pub is_asked: bool,
    /// Its children are shown where it stands first.
    pub is_repeated: bool,
    pub children: Vec<TreeNode>,
}

impl Family<'_> {
    /// Returns the relatives of a model; None where it is not among them.
    pub fn tree(&self, id: &str) -> Option<Tree> {
        let asked = self.node_of(id)?;
        let above = self.above(&asked);
        let near = above.iter().filter(|(_, steps)| *steps <= GENERATIONS).take(MOST_ABOVE);
        let line: Vec<Node> = near.map(|(node, _)| node.clone()).collect();
        let mut drawing = Drawing {
            family: self,
            line: line.iter().cloned().collect(),
            below: self.below([&asked]).into_iter().map(|(node, _)| node).collect(),
            asked,
            seen: BTreeSet::new(),
            drawn: 0,
        };
        let oldest = line.iter().filter(|node| self.parents(node).next().is_none());
        let mut roots = Vec::new();
        // Those that say of each other that they came from it have no oldest: the farthest stands for them.
        for node in oldest.chain(line.iter().rev()) {
            let is_due = drawing.drawn < MOST || *node == drawing.asked;
            if is_due && !drawing.seen.contains(node) {
                roots.push(drawing.node(node, None, 0));
            }
        }
        let all = self.below(above.iter().map(|(node, _)| node)).len();
        let left_out = u64::try_from(all.saturating_sub(drawing.seen.len())).unwrap_or(u64::MAX);
        Some(Tree { model_id: id.to_owned(), roots, left_out })
    }
}

struct Drawing<'f, 'k> {
    family: &'f Family<'k>,
    asked: Node,
    /// The one that was asked for and those that it was made from come first, what was made from it next.
    line: BTreeSet<Node>,
    below: BTreeSet<Node>,
    seen: BTreeSet<Node>,
    drawn: usize,
}

impl Drawing<'_, '_> {
    fn node(&mut self, node: &Node, above: Option<&Node>, depth: usize) -> TreeNode {
        let is_repeated = !self.seen.insert(node.clone());
        self.drawn += 1;
        let mut drawn = self.bare(node, above);
        let mut children: Vec<&Node> = self.family.children(node).collect();
        drawn.is_repeated = is_repeated && !children.is_empty();
        if is_repeated || depth >= DEEPEST {
            return drawn;
        }
        children.sort_by_cached_key(|child| {
            let rank = (!self.line.contains(child), !self.below.contains(child));
            (rank, self.name(child).to_lowercase())
        });
        for child in children {
            if self.drawn < MOST {
                drawn.children.push(self.node(child, Some(node), depth + 1));
            }
        }
        drawn
    }

    fn name(&self, node: &Node) -> String {
        let named = || self.family.named(node).map(|one| one.name.clone());
        self.family.kin(node).map(|kin| kin.name.clone()).or_else(named).unwrap_or_default()
    }

    fn bare(&self, node: &Node, above: Option<&Node>) -> TreeNode {
        let edge = above.and_then(|above| self.family.edge(node, above));
        let kin = self.family.kin(node);
        let named = || self.family.named(node)?.repo.clone();
        TreeNode {
            model_id: kin.map(|kin| kin.id.clone()),
            name: self.name(node),
            repo: kin.map_or_else(named, |kin| kin.repo.clone()),
            relation: edge.map(|edge| edge.relation),
            confidence: edge.map(|edge| edge.confidence),
            evidence: edge.map(|edge| edge.evidence.clone()).unwrap_or_default(),
            kind: kin.and_then(|kin| kin.kind),
            quant: kin.and_then(|kin| kin.quant.clone()),
            size: kin.map(|kin| kin.size),
            state: kin.map(|kin| kin.state),
            is_instruct: kin.and_then(|kin| kin.is_instruct),
            is_asked: *node == self.asked,
            is_repeated: false,
            children: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ancestor, Kin, lineage::folded};

    fn kin(id: &str, repo: &str, lineage: &[(Relation, &str)]) -> Kin {
        let one = |(relation, name): &(Relation, &str)| {
            Ancestor::on_hub(*relation, name, Confidence::Claimed, "README.md")
        };
        Kin {
            id: id.into(),
            name: id.into(),
            keys: [folded(repo)].into(),
            lineage: lineage.iter().map(one).collect(),
            ..Kin::default()
        }
    }

    fn lines(tree: &Tree) -> Vec<String> {
        fn add(node: &TreeNode, depth: usize, lines: &mut Vec<String>) {
            let relation = node.relation.map_or("", |relation| relation.name());
            let marks = [(node.model_id.is_none(), "?"), (node.is_asked, "*"), (node.is_repeated, "…")];
            let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
            lines.push(format!("{}{relation} {}{marks}", "-".repeat(depth), node.name));
            node.children.iter().for_each(|child| add(child, depth + 1, lines));
        }
        let mut all = Vec::new();
        tree.roots.iter().for_each(|root| add(root, 0, &mut all));
        all
    }

    #[track_caller]
    fn check(all: &[Kin], asked: &str, expected: &[&str]) {
        assert_eq!(lines(&Family::new(all).tree(asked).unwrap()), expected);
    }

    #[test]
    fn base_instruct_quant_and_lora_are_one_line() {
        let all = [
            kin("instruct", "acme/Tiny-Instruct", &[(Relation::Finetune, "acme/Tiny")]),
            kin(
                "q4",
                "quants/Tiny-Instruct-GGUF",
                &[(Relation::Quantized, "acme/Tiny-Instruct"), (Relation::Base, "Acme/Tiny")],
            ),
            kin("q8", "quants/Tiny-Instruct-GGUF", &[(Relation::Quantized, "acme/tiny-instruct")]),
            kin("lora", "me/lora", &[(Relation::Adapter, "acme/Tiny-Instruct")]),
            kin("stranger", "x/y", &[]),
        ];
        check(
            &all,
            "q4",
            &[" acme/Tiny?", "-finetune instruct", "--quantized q4*", "--adapter lora", "--quantized q8"],
        );
        check(&all, "stranger", &[" stranger*"]);
    }

    #[test]
    fn what_a_quantised_file_names_besides_stands_above_an_original_that_is_not_here() {
        let all =
            [kin("q4", "q/T-GGUF", &[(Relation::Finetune, "a/T"), (Relation::Quantized, "a/T-Instruct")])];
        check(&all, "q4", &[" a/T?", "-finetune a/T-Instruct?", "--quantized q4*"]);
    }

    #[test]
    fn a_merge_stands_below_all_its_parts_and_is_drawn_once() {
        let all = [
            kin("a", "o/a", &[]),
            kin("merge", "o/m", &[(Relation::Merge, "o/a"), (Relation::Merge, "o/b")]),
            kin("q", "o/q", &[(Relation::Quantized, "o/m")]),
        ];
        let expected = [" a", "-merge merge*", "--quantized q", " o/b?", "-merge merge*…"];
        check(&all, "merge", &expected);
    }

    #[test]
    fn circles_end() {
        let all = [kin("a", "o/a", &[(Relation::Base, "o/b")]), kin("b", "o/b", &[(Relation::Base, "o/a")])];
        check(&all, "a", &[" b", "-base a*", "--base b…"]);
        check(&[kin("a", "o/a", &[(Relation::Base, "o/a")])], "a", &[" a*"]);
        let [a, b] = all;
        let q = kin("q", "o/q", &[(Relation::Quantized, "o/a"), (Relation::Quantized, "o/old")]);
        let all = [a, b, q, kin("old", "o/old", &[])];
        check(&all, "q", &[" old", "-quantized q*", " b", "-base a", "--quantized q*", "--base b…"]);
    }

    #[test]
    fn a_base_is_known_by_the_hash_of_its_file() {
        let mut base = kin("sdxl", "x/sdxl", &[]);
        base.sha256 = Some("ab".repeat(32));
        let mut lora = kin("lora", "y/lora", &[(Relation::Adapter, "sd_xl_base_1.0.safetensors")]);
        lora.lineage[0].sha256 = Some("ab".repeat(32));
        check(&[base, lora.clone()], "lora", &[" sdxl", "-adapter lora*"]);
        lora.lineage[0].sha256 = None;
        let named = kin("sd_xl_base_1.0.safetensors", "z/z", &[]);
        check(&[named, lora], "lora", &[" sd_xl_base_1.0.safetensors?", "-adapter lora*"]);
    }

    #[test]
    fn a_base_of_thousands_is_cut_and_the_one_asked_for_is_not() {
        let mut all = vec![kin("base", "o/base", &[])];
        all.extend(
            (0..2000)
                .map(|no| kin(&format!("l{no:04}"), &format!("u/{no}"), &[(Relation::Adapter, "o/base")])),
        );
        let tree = Family::new(&all).tree("l1999").unwrap();
        assert_eq!((tree.roots[0].children.len(), tree.left_out), (499, 1501));
        assert!(tree.roots[0].children[0].is_asked);
    }

    #[test]
    fn of_the_longest_line_the_nearest_ancestors_are_shown() {
        let chain = (0..5000).map(|no| {
            let above = format!("o/c{}", no + 1);
            kin(&format!("c{no}"), &format!("o/c{no}"), &[(Relation::Base, &above)])
        });
        let chain: Vec<Kin> = chain.collect();
        let family = Family::new(&chain);
        let tree = family.tree("c0").unwrap();
        // Sixteen above it; the last of 5000 names one that is not here.
        assert_eq!((lines(&tree).len(), tree.left_out), (17, 5001 - 17));
        assert!(lines(&tree)[16].ends_with("base c0*"));
        let middle = family.tree("c2500").unwrap();
        assert_eq!(lines(&middle).len(), 33);
        let wire = serde_json::to_string(&middle).unwrap();
        assert_eq!(
            serde_json::from_str::<Tree>(&wire).unwrap(),
            middle,
            "no reader refuses how deep it nests"
        );
    }

    #[test]
    fn merges_of_merges_do_not_hide_the_one_asked_for() {
        let names = |level: usize| (0..32).map(move |no| format!("o/m{level}x{no}"));
        let merge = |level: usize, name: String| {
            let parts: Vec<String> = names(level + 1).collect();
            let parts: Vec<_> = parts.iter().map(|part| (Relation::Merge, part.as_str())).collect();
            kin(&name.replace("o/", ""), &name, &parts)
        };
        let all: Vec<Kin> =
            (0..20).flat_map(|level| names(level).map(move |name| merge(level, name))).collect();
        let tree = Family::new(&all).tree("m0x5").unwrap();
        let lines = lines(&tree);
        assert!(lines.iter().any(|line| line.contains("m0x5*")));
        assert!(lines.len() <= 532, "{}", lines.len());
    }

    #[test]
    fn a_bare_name_joins_no_two() {
        let lora = |id: &str| kin(id, &format!("me/{id}"), &[(Relation::Adapter, "model.safetensors")]);
        check(&[lora("a"), lora("b")], "a", &[" model.safetensors?", "-adapter a*"]);
    }
}
