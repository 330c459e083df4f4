//! The lines between the models of the index and those that they name. Follows what they say; two that are alike are
//! not related for it.

use crate::{Ancestor, Relation, kin::Kin, lineage::folded};
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Here(usize),
    /// None of the index, by what makes it the same wherever it is named.
    Named(String),
    /// A file's name that one of them says, which could be anybody's.
    Nobodys(usize, String),
}

/// The lines between all models.
pub struct Family<'k> {
    all: &'k [Kin],
    by_id: HashMap<&'k str, usize>,
    by_key: HashMap<&'k str, usize>,
    by_hash: HashMap<&'k str, usize>,
    up: BTreeMap<Node, BTreeMap<Node, &'k Ancestor>>,
    down: BTreeMap<Node, BTreeSet<Node>>,
}

impl<'k> Family<'k> {
    pub fn new(all: &'k [Kin]) -> Self {
        // Of several by one name the fullest stands for it.
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by_key(|at| all.get(*at).map(|kin| (kin.is_whole(), kin.state.is_usable(), kin.size)));
        let of = |at: usize| all.get(at).into_iter();
        let by_key =
            order.iter().flat_map(|at| of(*at).flat_map(|kin| &kin.keys).map(|key| (key.as_str(), *at)));
        let by_hash =
            order.iter().flat_map(|at| of(*at).filter_map(|kin| Some((kin.sha256.as_deref()?, *at))));
        let (by_key, by_hash) = (by_key.collect(), by_hash.collect());
        let by_id = all.iter().enumerate().map(|(at, kin)| (kin.id.as_str(), at)).collect();
        let mut family = Self { all, by_id, by_key, by_hash, up: BTreeMap::new(), down: BTreeMap::new() };
        for (at, kin) in all.iter().enumerate() {
            family.place(at, kin);
        }
        family
    }

    /// Returns the model of the index that an ancestor is: by its file's hash, its repository, or its name with its
    /// organisation.
    pub fn find(&self, ancestor: &Ancestor) -> Option<&'k Kin> {
        self.at(ancestor).and_then(|at| self.all.get(at))
    }

    pub(crate) fn kin(&self, node: &Node) -> Option<&'k Kin> {
        if let Node::Here(at) = node { self.all.get(*at) } else { None }
    }

    pub(crate) fn node_of(&self, id: &str) -> Option<Node> {
        self.by_id.get(id).copied().map(Node::Here)
    }

    pub(crate) fn model(&self, id: &str) -> Option<&'k Kin> {
        self.kin(&self.node_of(id)?)
    }

    /// Returns every repository, handle and hash that a model and those that it was made from go by.
    pub(crate) fn line_of(&self, id: &str) -> BTreeSet<String> {
        let Some(node) = self.node_of(id) else { return BTreeSet::new() };
        let words = |node: Node| match &node {
            Node::Here(_) => self.kin(&node).map(Kin::own_words).unwrap_or_default(),
            Node::Named(word) => BTreeSet::from([word.clone()]),
            Node::Nobodys(..) => BTreeSet::new(),
        };
        self.above(&node).into_iter().flat_map(|(node, _)| words(node)).collect()
    }

    /// What one says of another that it was made from.
    pub(crate) fn edge(&self, node: &Node, above: &Node) -> Option<&'k Ancestor> {
        self.up.get(node)?.get(above).copied()
    }

    /// What one that is not here is called by those that name it.
    pub(crate) fn named(&self, node: &Node) -> Option<&'k Ancestor> {
        self.down.get(node)?.iter().find_map(|child| self.edge(child, node))
    }

    pub(crate) fn parents(&self, node: &Node) -> impl Iterator<Item = &Node> {
        self.up.get(node).into_iter().flat_map(BTreeMap::keys)
    }

    pub(crate) fn children(&self, node: &Node) -> impl Iterator<Item = &Node> {
        self.down.get(node).into_iter().flatten()
    }

    /// Returns a model and all that it was made from, the nearest first, with how many generations lie between.
    pub(crate) fn above(&self, from: &Node) -> Vec<(Node, usize)> {
        walk([from.clone()], |node| self.parents(node).cloned().collect())
    }

    /// Returns these and all that was made from them.
    pub(crate) fn below<'n>(&self, from: impl IntoIterator<Item = &'n Node>) -> Vec<(Node, usize)> {
        walk(from.into_iter().cloned(), |node| self.children(node).cloned().collect())
    }

    fn at(&self, ancestor: &Ancestor) -> Option<usize> {
        let by_hash = ancestor.sha256.as_ref().and_then(|hash| self.by_hash.get(hash.as_str()));
        let by_key = || self.by_key.get(ancestor.key()?.as_str()).copied();
        by_hash.copied().or_else(by_key)
    }

    /// Where an ancestor stands that the model at `by` names.
    fn node(&self, by: usize, ancestor: &Ancestor) -> Node {
        let known = ancestor.sha256.clone().or_else(|| ancestor.key());
        let unknown = || Node::Nobodys(by, folded(&ancestor.name));
        self.at(ancestor).map_or_else(|| known.map_or_else(unknown, Node::Named), Node::Here)
    }

    /// Draws the lines from a model to what it was made from. What a quantised file names besides is what the
    /// original was made from: converters copy it.
    fn place(&mut self, at: usize, kin: &'k Kin) {
        let (originals, others): (Vec<&'k Ancestor>, Vec<&'k Ancestor>) =
            kin.lineage.iter().partition(|one| one.relation == Relation::Quantized);
        let above = originals.first().map(|original| self.node(at, original));
        originals.into_iter().for_each(|one| self.line(Node::Here(at), at, one));
        let from = above.unwrap_or(Node::Here(at));
        let tells_itself =
            from != Node::Here(at) && self.kin(&from).is_some_and(|kin| !kin.lineage.is_empty());
        if !tells_itself {
            others.into_iter().for_each(|one| self.line(from.clone(), at, one));
        }
    }

    fn line(&mut self, from: Node, by: usize, to: &'k Ancestor) {
        let above = self.node(by, to);
        if above != from {
            self.down.entry(above.clone()).or_default().insert(from.clone());
            self.up.entry(from).or_default().entry(above).or_insert(to);
        }
    }
}

/// Returns what is reached, each once, the nearest first, with how many steps it takes.
fn walk(from: impl IntoIterator<Item = Node>, next: impl Fn(&Node) -> Vec<Node>) -> Vec<(Node, usize)> {
    let mut order: Vec<(Node, usize)> = Vec::new();
    let mut seen = BTreeSet::new();
    order.extend(from.into_iter().filter(|node| seen.insert(node.clone())).map(|node| (node, 0)));
    let mut at = 0;
    while let Some((node, steps)) = order.get(at).cloned() {
        at += 1;
        let fresh = next(&node).into_iter().filter(|node| seen.insert(node.clone()));
        order.extend(fresh.map(|node| (node, steps + 1)));
    }
    order
}
