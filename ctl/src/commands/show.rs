//! `modelctl show`, and the sections that `inspect` shares with it.

use crate::{context::Context, style::Style, text::clean, wording};
use anyhow::Result;
use api::{Request, Roots, Shown};
use clap::Args;
use domain::{
    Ancestor, ByteSize, Companion, File, Location, Model, RootStatus, Safety, Source,
    facts::{Facts, Graph, Pickled, Standing, Value},
};
use std::{
    ffi::OsString,
    io::{self, Write},
};

/// Show all of one model: what it is, where it lies, where it came from and how that is known
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl show Qwen3-8B-Q4_K_M
  modelctl show llama3:8b
  modelctl show ./model.gguf --json")]
pub(crate) struct ShowArgs {
    /// Name, unique prefix, alias, id, an app's handle, or path
    model: OsString,
}

impl ShowArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let model = context.environment.model(&self.model);
        let Some(shown) = context.ask::<Shown>(&Request::Show { model })? else { return Ok(()) };
        let is_away = shown.model.locations.iter().any(|location| !location.online);
        let roots = if is_away { roots(context) } else { Vec::new() };
        let now = context.environment.now;
        let mut fields = Fields::new(context.out, context.style);
        write_model(&shown.model, &mut fields)?;
        fields.each("same weights", &shown.same_weights)?;
        if let Some(facts) = &shown.facts {
            write_facts(facts, &mut fields)?;
        }
        write_companions(&shown.companions, &mut fields)?;
        shown.model.locations.iter().try_for_each(|location| {
            let away = offline(location, &roots, now);
            write_location(location, away.as_deref(), &mut fields)
        })?;
        write_user(&shown.model, now, &mut fields)?;
        Ok(())
    }
}

fn write_model(model: &Model, fields: &mut Fields<'_>) -> io::Result<()> {
    fields.title(&model.name)?;
    fields.field("id", &model.id)?;
    fields.field("state", model.state.name())?;
    fields.maybe("progress", model.progress.as_ref().map(wording::progress).as_deref())?;
    fields.maybe("reason", model.reason.as_deref())?;
    fields.safety(model.safety)?;
    let others = model.warnings.iter().filter(|warning| Some(*warning) != model.reason.as_ref());
    fields.each("warning", &others.cloned().collect::<Vec<_>>())?;
    fields.maybe("format", model.format.map(|format| format.name()))?;
    fields.maybe("kind", model.kind.map(|kind| kind.name()))?;
    fields.maybe("architecture", model.architecture.as_deref())?;
    fields.maybe("family", model.family.as_deref())?;
    let parameters = model.parameters.map(|all| wording::parameters(Some(all), model.active_parameters));
    fields.maybe("parameters", parameters.as_deref())?;
    let quant = match (&model.quant, model.bits_per_weight) {
        (Some(quant), Some(bits)) => Some(format!("{quant}, {bits:.2} bits per weight")),
        (quant, _) => quant.clone(),
    };
    fields.maybe("quant", quant.as_deref())?;
    fields.maybe(
        "context",
        model.context_length.map(|tokens| format!("{tokens} tokens, as trained")).as_deref(),
    )?;
    fields.field("size", &format!("{}, on disk {}", ByteSize(model.size), ByteSize(model.disk_size)))?;
    fields.maybe("sha256", model.sha256.as_deref())?;
    fields.field("verification", model.verification.name())?;
    fields.maybe("license", license(model).as_deref())?;
    write_lineage(model, fields)?;
    fields.maybe("can", some(model.capabilities.join(", ")).as_deref())?;
    let group = model.duplicate_group.as_ref();
    fields.maybe("duplicates", group.map(|group| format!("stored more than once ({group})")).as_deref())
}

pub(super) fn write_facts(facts: &Facts, fields: &mut Fields<'_>) -> io::Result<()> {
    fields.title("what its weights say")?;
    fields.maybe("name", facts.name.as_deref())?;
    fields.maybe("kind", facts.kind.map(|kind| kind.name()))?;
    fields.maybe("architecture", facts.architecture.as_deref())?;
    fields.maybe("family", facts.family.as_deref())?;
    let parameters = facts.parameters.map(|all| wording::parameters(Some(all), facts.active_parameters));
    fields.maybe("parameters", parameters.as_deref())?;
    fields.maybe("quant", facts.quant.as_deref())?;
    fields.maybe("context", facts.context_length.map(|tokens| format!("{tokens} tokens")).as_deref())?;
    let shape =
        [("layers", facts.block_count), ("width", facts.embedding_length), ("vocabulary", facts.vocabulary)];
    for (label, number) in shape {
        fields.maybe(label, number.map(|number| number.to_string()).as_deref())?;
    }
    let experts = facts.experts.map(|experts| format!("{}, {} work on a token", experts.count, experts.used));
    fields.maybe("experts", experts.as_deref())?;
    if let Some(attention) = &facts.attention {
        fields.field("KV cache", &format!("{} elements per token", attention.kv_elements_per_token))?;
        let window = attention.sliding_window.map(|tokens| format!("{tokens} tokens, in some layers"));
        fields.maybe("window", window.as_deref())?;
    }
    for used in &facts.tensor_types {
        let tensors = if used.tensors == 1 { "tensor" } else { "tensors" };
        let line = format!("{}  {} {tensors}, {}", used.name, used.tensors, ByteSize(used.bytes));
        fields.field("tensors", &line)?;
    }
    let tuning = facts.tuning.as_ref().map(|tuning| {
        format!("{} ({})", if tuning.is_instruct { "instruct" } else { "base" }, tuning.because)
    });
    fields.maybe("tuning", tuning.as_deref())?;
    let template =
        facts.chat_template.as_ref().map(|text| format!("yes, {} characters", text.chars().count()));
    fields.maybe("chat template", template.as_deref())?;
    fields.maybe("can", some(facts.capabilities.join(", ")).as_deref())?;
    fields
        .maybe("part", facts.split.map(|split| format!("{} of {}", split.no + 1, split.count)).as_deref())?;
    fields.maybe("license", facts.license.as_deref())?;
    fields.each("based on", &facts.base_models)?;
    write_made(facts, fields)?;
    facts.graph.as_ref().map_or(Ok(()), |graph| write_graph(graph, fields))?;
    facts.pickle.as_ref().map_or(Ok(()), |pickle| write_pickle(pickle, fields))?;
    fields.maybe("page", facts.source_url.as_deref())
}

/// What loading a pickle reaches: by name, but for what every checkpoint has.
fn write_pickle(pickle: &Pickled, fields: &mut Fields<'_>) -> io::Result<()> {
    fields.field("pickled", &pickle.layout)?;
    let told = |standing: Standing, words: &str| -> Vec<String> {
        let of = pickle.reaches.iter().filter(|reached| reached.standing == standing);
        of.map(|reached| format!("{}{words}", reached.name)).collect()
    };
    let names =
        [told(Standing::Dangerous, ", which runs code"), told(Standing::Unknown, ", which is not known")];
    fields.each("reaches", &names.concat())
}

/// What a runtime must know before it loads a graph.
fn write_graph(graph: &Graph, fields: &mut Fields<'_>) -> io::Result<()> {
    let value = |value: &Value| {
        let dtype = value.dtype.as_deref().map(|dtype| format!("  {dtype}")).unwrap_or_default();
        let shape = value.shape.as_ref().map(|shape| format!(" [{}]", shape.join(", "))).unwrap_or_default();
        format!("{}{dtype}{shape}", value.name)
    };
    fields.maybe("version", graph.version.as_deref())?;
    fields.maybe("made with", graph.producer.as_deref())?;
    fields.maybe("needs", some(graph.opsets.join(", ")).as_deref())?;
    fields.each("input", &graph.inputs.iter().map(value).collect::<Vec<_>>())?;
    fields.each("output", &graph.outputs.iter().map(value).collect::<Vec<_>>())?;
    let used = graph.operators.iter().map(|used| format!("{} {}", used.count, used.name));
    fields.maybe("operators", some(used.collect::<Vec<_>>().join(", ")).as_deref())
}

/// What it goes with, and who made it how.
fn write_made(facts: &Facts, fields: &mut Fields<'_>) -> io::Result<()> {
    fields.each("merged from", &facts.merged_from)?;
    if let Some(adapter) = &facts.adapter {
        let rank = adapter.rank.map(|rank| format!(", rank {rank}")).unwrap_or_default();
        let alpha = adapter.alpha.map(|alpha| format!(", alpha {alpha}")).unwrap_or_default();
        fields.field("adapter", &format!("{}{rank}{alpha}", adapter.method))?;
    }
    if let Some(projector) = &facts.projector {
        fields.maybe("projector", projector.kind.as_deref())?;
        fields.maybe("projects to", projector.width.map(|width| width.to_string()).as_deref())?;
    }
    fields.maybe("triggers", some(facts.trigger_words.join(", ")).as_deref())?;
    fields.maybe("author", facts.author.as_deref())?;
    fields.maybe("about", facts.description.as_deref())
}

fn license(model: &Model) -> Option<String> {
    let license = model.license.as_ref()?;
    let spdx = model.license_spdx.as_deref().filter(|spdx| *spdx != license);
    let known: Vec<&str> = spdx.into_iter().chain(model.license_class.map(|class| class.name())).collect();
    Some(if known.is_empty() { license.clone() } else { format!("{license} ({})", known.join(", ")) })
}

fn write_lineage(model: &Model, fields: &mut Fields<'_>) -> io::Result<()> {
    if model.lineage.is_empty() {
        return fields.each("based on", &model.base_models);
    }
    let line = |one: &Ancestor| {
        let here = if one.model_id.is_some() { ", here" } else { "" };
        format!("{} ({}{here}; {}: {})", one.name, one.relation, one.confidence, one.evidence.join("; "))
    };
    fields.each("based on", &model.lineage.iter().map(line).collect::<Vec<_>>())
}

/// What goes with it, and why.
fn write_companions(companions: &[Companion], fields: &mut Fields<'_>) -> io::Result<()> {
    if !companions.is_empty() {
        fields.title("goes with")?;
    }
    companions.iter().try_for_each(|one| {
        fields.field(one.role.name(), &one.name)?;
        fields.field("", &format!("{} ({})", one.because, one.confidence))
    })
}

/// Other witnesses than the app's own, where there are such.
fn write_claims(location: &Location, fields: &mut Fields<'_>) -> io::Result<()> {
    let own = location.source.as_ref();
    let is_own = |claim: &&Source| own.is_some_and(|own| own.kind == claim.kind && own.repo == claim.repo);
    let line = |claim: &Source| {
        let place = claim.repo.as_deref().or(claim.url.as_deref()).unwrap_or("unknown");
        format!("{place} ({}: {})", claim.confidence, claim.evidence.join("; "))
    };
    let others = location.claims.iter().filter(|claim| !is_own(claim)).map(line);
    fields.each("also said", &others.collect::<Vec<_>>())
}

/// Nothing where they are not told: the model is shown without them.
fn roots(context: &mut Context<'_>) -> Vec<RootStatus> {
    let reply = context.connect().and_then(|mut client| Ok(client.ask_raw(&Request::Roots {})?));
    let roots = reply.ok().and_then(|reply| serde_json::from_str(reply.get()).ok());
    roots.map_or_else(Vec::new, |Roots { roots }| roots)
}

/// Since when a place is offline, as far as its root tells.
fn offline(location: &Location, roots: &[RootStatus], now: jiff::Timestamp) -> Option<String> {
    let path = location.files.first().map(|file| file.path.to_path())?;
    let away = roots.iter().filter(|root| !root.online && path.starts_with(root.path.to_path()));
    let since = away.max_by_key(|root| root.path.text().len()).and_then(|root| root.offline_since);
    let words = |since| format!("since {since:.0} ({})", wording::ago(now, since));
    (!location.online).then(|| since.map_or_else(|| "yes".to_owned(), words))
}

fn write_location(location: &Location, offline: Option<&str>, fields: &mut Fields<'_>) -> io::Result<()> {
    fields.title(&format!("in {}", location.app))?;
    fields.field("handle", &location.id)?;
    fields.maybe("name", location.name.as_deref())?;
    fields.maybe("offline", offline)?;
    let partial = location.partial_reason.as_deref().unwrap_or("yes");
    fields.maybe("incomplete", location.is_partial.then_some(partial))?;
    match &location.source {
        Some(source) => write_source(source, fields)?,
        None => fields.field("came from", "unknown")?,
    }
    write_claims(location, fields)?;
    fields.maybe("revision", location.revision.as_deref())?;
    fields.maybe("refs", some(location.refs.join(", ")).as_deref())?;
    fields.maybe("license", location.license.as_deref())?;
    fields.maybe("owner", location.owner.as_deref())?;
    location.files.iter().try_for_each(|file| write_file(file, fields))
}

fn write_source(source: &Source, fields: &mut Fields<'_>) -> io::Result<()> {
    let words = [source.kind.map(|kind| kind.name()), source.repo.as_deref(), source.url.as_deref()];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    let words = if words.is_empty() { "unknown".to_owned() } else { words.join("  ") };
    fields.field("came from", &words)?;
    fields.field("known by", &format!("{}: {}", source.confidence, source.evidence.join("; ")))
}

fn write_file(file: &File, fields: &mut Fields<'_>) -> io::Result<()> {
    let link = file.link.map_or_else(String::new, |link| format!(", {link}"));
    fields.field("file", file.path.text())?;
    fields.field("", &format!("{}, {}{link}", file.role, ByteSize(file.size)))?;
    if let Some(hashes) = &file.hashes {
        let recorded = if file.recorded.is_none() { ", none was recorded" } else { "" };
        fields.field("sha256", &format!("{} ({}{recorded})", hashes.sha256, file.verification()))?;
        fields.maybe("tensors", hashes.tensors.as_deref())?;
        let names = [("AutoV1", &hashes.autov1), ("AutoV2", &hashes.autov2), ("AutoV3", &hashes.autov3)];
        let names = names.iter().filter_map(|(label, name)| Some(format!("{label} {}", name.as_ref()?)));
        fields.maybe("CivitAI", some(names.collect::<Vec<_>>().join(", ")).as_deref())?;
    }
    Ok(())
}

fn write_user(model: &Model, now: jiff::Timestamp, fields: &mut Fields<'_>) -> io::Result<()> {
    fields.title("yours")?;
    fields.field("pinned", if model.pinned { "yes" } else { "no" })?;
    fields.maybe("tags", some(model.tags.join(", ")).as_deref())?;
    fields.maybe("aliases", some(model.aliases.join(", ")).as_deref())?;
    let lines: Vec<String> = model.note.iter().flat_map(|note| note.lines()).map(str::to_owned).collect();
    fields.each("note", &lines)?;
    fields.maybe("last used", model.last_used.map(|then| wording::ago(now, then)).as_deref())?;
    fields.maybe("first seen", model.first_seen.map(|then| wording::ago(now, then)).as_deref())
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Sections of labelled lines; every word in them is cleaned here.
pub(super) struct Fields<'a> {
    out: &'a mut dyn Write,
    style: Style,
    is_first: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn new(out: &'a mut dyn Write, style: Style) -> Self {
        Self { out, style, is_first: true }
    }

    pub(super) fn title(&mut self, words: &str) -> io::Result<()> {
        let gap = if self.is_first { "" } else { "\n" };
        self.is_first = false;
        let Style { strong, off, .. } = self.style;
        writeln!(self.out, "{gap}{strong}{}{off}", clean(words))
    }

    pub(super) fn field(&mut self, label: &str, value: &str) -> io::Result<()> {
        let Style { faint, off, .. } = self.style;
        writeln!(self.out, "  {faint}{label:<13}{off}  {}", clean(value))
    }

    pub(super) fn maybe(&mut self, label: &str, value: Option<&str>) -> io::Result<()> {
        value.map_or(Ok(()), |value| self.field(label, value))
    }

    pub(super) fn safety(&mut self, safety: Option<Safety>) -> io::Result<()> {
        let Style { faint, bad, warn, off, .. } = self.style;
        let (colour, words) = match safety {
            None => return Ok(()),
            Some(Safety::TensorsOnly) => ("", "loading it runs nothing"),
            Some(Safety::Unverifiable) => (warn, "nobody can say what loading it runs"),
            Some(Safety::Dangerous) => (bad, "LOADING IT RUNS CODE"),
        };
        let name = safety.map_or("", |safety| safety.name());
        writeln!(self.out, "  {faint}{:<13}{off}  {colour}{name}: {words}{off}", "safety")
    }

    /// The label stands before the first value only.
    pub(super) fn each(&mut self, label: &str, values: &[String]) -> io::Result<()> {
        let labels = std::iter::once(label).chain(std::iter::repeat(""));
        values.iter().zip(labels).try_for_each(|(value, label)| self.field(label, value))
    }
}
