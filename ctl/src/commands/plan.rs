//! `modelctl plan`

use super::{curve, order::Order};
use crate::{
    context::Context,
    table::{Column, Table},
    text::{clean, wrapped},
    wording,
};
use anyhow::Result;
use api::{Launch, Request};
use clap::Args;
use domain::{
    ByteSize,
    engines::{Counted, HOST, Plan},
    plan::{DeviceUse, HostUse, Term},
};
use std::io;

/// Show the memory plan, the command that launch would run, and why; nothing is started
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl plan llama.cpp qwen3
  modelctl plan llama.cpp qwen3 --max-ctx --json
  modelctl plan llama.cpp qwen3 --ctx 32768 --n-cpu-moe 12
  modelctl plan llama.cpp qwen3 --max-ctx --hardware machine.json     what if?
  modelctl plan llama.cpp qwen3 --users 4 --ctx 16k
  modelctl plan llama.cpp qwen3 --explain --curve
  modelctl plan llama.cpp qwen3 --confirm
  modelctl plan llama.cpp qwen3 --forget          after a driver or a card was changed
  modelctl plan llama.cpp qwen3 -- --jinja --temp 0.6

A MACHINE FOR --hardware, as `modelctl hardware --json > machine.json` writes it; sizes are bytes:
  {\"gpus\": [{\"id\": \"CUDA0\", \"name\": \"NVIDIA GeForce RTX 3090\", \"backend\": \"CUDA\",
             \"total\": 25769803776, \"free\": 25000000000}],
   \"ram\": {\"total\": 68719476736, \"available\": 60000000000}}
What counts is `free` and `available`; `total` is at least as much. The speed goes by `name`, the buffers by `backend`.
\"shares_ram\": true says that a GPU has no memory of its own, `overhead` what its driver takes of `free` besides.")]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    order: Order,
    /// Show what each figure is made of, and how it is known
    #[arg(long)]
    explain: bool,
    /// Draw memory against context, for each type of KV cache
    #[arg(long)]
    curve: bool,
    #[command(flatten)]
    evidence: Evidence,
}

/// What a plan goes by besides arithmetic.
#[derive(Debug, Args)]
struct Evidence {
    /// Have the engine's own tool count it, too: llama-fit-params, where it lies beside the engine
    #[arg(long)]
    confirm: bool,
    /// Forget first what runs of this model took with this engine: plan as if none had been
    #[arg(long)]
    forget: bool,
}

impl PlanArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let Evidence { confirm, forget } = self.evidence;
        let mut launch = self.order.request(context)?;
        (launch.curve, launch.terms) = (self.curve, self.explain);
        let Some(Launch { plan }) = context.ask(&Request::Plan { launch, confirm, forget })? else {
            return Ok(());
        };
        let is_planned = plan.host.is_some();
        for (flag, is_given, what) in
            [("--explain", self.explain, "explain"), ("--curve", self.curve, "draw")]
        {
            if is_given && !is_planned {
                writeln!(context.err, "note: {flag} is left out: there is no plan to {what}")?;
            }
        }
        let reasons = write_what_is_missing(&plan, context)?;
        write_memory(&plan, context)?;
        if self.explain && is_planned {
            write_terms(&plan.terms, context)?;
        }
        if let Some(curve) = &plan.curve {
            let (width, has_utf8) = (context.environment.width, context.environment.is_utf8());
            writeln!(context.out)?;
            curve::draw(curve, width, has_utf8)
                .iter()
                .try_for_each(|line| writeln!(context.out, "{line}"))?;
            writeln!(context.out)?;
        }
        write_reasons(reasons, &plan, context)?;
        write_confirmed(&plan, context)?;
        writeln!(context.out, "\n{}", plan.command)?;
        for file in &plan.files {
            writeln!(context.out, "would write {}", clean(&file.path))?;
        }
        Ok(())
    }
}

/// That it does not fit comes before all figures. Returns the other reasons.
fn write_what_is_missing<'a>(plan: &'a Plan, context: &mut Context<'_>) -> io::Result<&'a [String]> {
    match plan.explain.split_first().filter(|_| plan.fits == Some(false)) {
        Some((missing, others)) => {
            context.say_in(context.style.warn, "", missing)?;
            Ok(others)
        }
        None => Ok(&plan.explain),
    }
}

/// The budget: what goes where, in bytes.
fn write_memory(plan: &Plan, context: &mut Context<'_>) -> io::Result<()> {
    let Some(host) = &plan.host else { return Ok(()) };
    let columns = [
        Column::Left("MEMORY"),
        Column::Right("WEIGHTS"),
        Column::Right("CONTEXT"),
        Column::Right("COMPUTE"),
        Column::Right("OTHER"),
        Column::Right("KEPT FREE"),
        Column::Right("UNUSED"),
    ];
    let mut table = Table::new(columns, 0);
    for device in &plan.devices {
        table.push(device_row(device));
        table_measured(&mut table, plan, &device.id);
    }
    let shared = plan.devices.iter().filter(|device| device.shares_ram).map(|device| device.used).sum();
    table.push(host_row(host, shared));
    table_measured(&mut table, plan, HOST);
    table.write(context.out, context.style, context.environment.width)?;
    let sharing: Vec<&str> =
        plan.devices.iter().filter(|device| device.shares_ram).map(|device| device.id.as_str()).collect();
    if sharing.is_empty() {
        return Ok(());
    }
    let ids = sharing.join(", ");
    context.say(
        "",
        &format!("{ids} and main memory are one pool: what one of them takes is missing to the other"),
    )
}

/// What the engine's own tool says of the figures.
fn write_confirmed(plan: &Plan, context: &mut Context<'_>) -> io::Result<()> {
    let Some(confirmed) = &plan.confirmed else { return Ok(()) };
    let program = clean(&confirmed.program);
    let name = program.rsplit('/').next().unwrap_or(&program);
    for place in &confirmed.devices {
        let where_to = if place.id == HOST { "main memory".into() } else { clean(&place.id) };
        let Counted { weights, context: cache, compute } = place.counted;
        let all = ByteSize(place.counted.total());
        let bytes = ByteSize(place.difference.unsigned_abs());
        let how = match place.difference {
            0 => "as planned".to_owned(),
            1.. => format!("{bytes} more than planned"),
            _ => format!("{bytes} less than planned"),
        };
        let parts = format!(
            "weights {}, context {}, compute {}",
            ByteSize(weights),
            ByteSize(cache),
            ByteSize(compute)
        );
        context.say("", &format!("{name} counts {all} on {where_to}, {how}: {parts}"))?;
    }
    if !confirmed.left_out.is_empty() {
        let flags = clean(&confirmed.left_out.join(" ")).into_owned();
        writeln!(context.err, "note: {name} counts without {flags}")?;
    }
    Ok(())
}

/// Below what is planned for a place: what was planned before it was measured, or what a run with like settings took.
fn table_measured(table: &mut Table<7>, plan: &Plan, id: &str) {
    let Some(run) = &plan.measured else { return };
    let Some(place) = run.devices.iter().find(|place| place.id == id) else { return };
    let size = |bytes: u64| ByteSize(bytes).to_string();
    let (label, told) = match run.same_settings {
        true => ("  planned first".to_owned(), place.planned),
        false => (format!("  took at {}", wording::tokens(run.settings.flags.ctx)), place.taken),
    };
    // What an engine takes of main memory besides is not measured.
    let other = told.overhead.filter(|_| id != HOST).map(size);
    table.push([
        label,
        size(told.weights),
        size(told.context),
        size(told.compute),
        other.unwrap_or_default(),
        String::new(),
        String::new(),
    ]);
}

fn device_row(device: &DeviceUse) -> [String; 7] {
    let size = |bytes: u64| ByteSize(bytes).to_string();
    [
        clean(&device.id).into_owned(),
        size(device.weights),
        size(device.context),
        size(device.compute),
        size(device.overhead),
        size(device.margin),
        signed(device.left),
    ]
}

/// `shared` is what devices take of main memory, bytes.
fn host_row(host: &HostUse, shared: u64) -> [String; 7] {
    let size = |bytes: u64| ByteSize(bytes).to_string();
    let other = host.overhead.saturating_add(host.cache_ram).saturating_add(host.checkpoints);
    let used = [host.weights, host.context, host.compute, other, host.margin, shared];
    let left = used.iter().fold(i128::from(host.available), |left, bytes| left - i128::from(*bytes));
    [
        "main memory".into(),
        size(host.weights),
        size(host.context),
        size(host.compute),
        size(other),
        size(host.margin),
        signed(i64::try_from(left).unwrap_or(i64::MIN)),
    ]
}

fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "" };
    format!("{sign}{}", ByteSize(bytes.unsigned_abs()))
}

/// Every figure with what it is made of. How it is known is broken into lines: it is what was asked for.
fn write_terms(terms: &[Term], context: &mut Context<'_>) -> io::Result<()> {
    let columns = [
        Column::Left("PLACE"),
        Column::Left("WHAT"),
        Column::Right("BYTES"),
        Column::Left("HOW IT IS KNOWN"),
    ];
    let row = |term: &Term, note: String| {
        let place = if term.place == HOST { "main memory" } else { &term.place };
        [clean(place).into_owned(), clean(&term.what).into_owned(), ByteSize(term.bytes).to_string(), note]
    };
    let mut without = Table::new(columns, 3);
    terms.iter().for_each(|term| without.push(row(term, String::new())));
    let room = context.environment.prose_width().map(|width| without.rest(width));
    let mut table = Table::new(columns, 3);
    for term in terms {
        let mut lines = wrapped(&clean(term.note.as_deref().unwrap_or("")), room).into_iter();
        table.push(row(term, lines.next().unwrap_or_default()));
        lines.for_each(|line| table.push([String::new(), String::new(), String::new(), line]));
    }
    writeln!(context.out)?;
    table.write(context.out, context.style, context.environment.width)?;
    writeln!(context.out)
}

/// Why it is so, and what else could be had.
fn write_reasons(reasons: &[String], plan: &Plan, context: &mut Context<'_>) -> io::Result<()> {
    reasons.iter().try_for_each(|line| context.say("- ", line))?;
    plan.alternatives.iter().try_for_each(|line| context.say("or ", line))
}
