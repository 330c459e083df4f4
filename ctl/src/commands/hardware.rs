//! `modelctl hardware`

use crate::{
    context::Context,
    style::Style,
    table::{Column, Table},
    text::clean,
};
use anyhow::Result;
use api::{EngineDevices, HardwareReport, Request, client::ClientError};
use clap::Args;
use domain::{
    ByteSize,
    hardware::{Card, CardState, Cpu, Gpu, Node, Pool},
};
use std::{collections::BTreeMap, io};

/// Show memory, GPUs and who holds them, and which of them each engine really sees
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl hardware
  modelctl hardware --watch
  modelctl hardware --json | jq '.gpus[] | {id, name, free}'
  modelctl hardware --json > machine.json     what plan --hardware takes")]
pub(crate) struct HardwareArgs {
    /// Show it again whenever it changes, until Ctrl-C; with --json one object a line
    #[arg(long)]
    watch: bool,
}

impl HardwareArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let request = Request::Hardware { environment: context.environment.callers() };
        if !self.watch {
            let Some(report) = context.ask(&request)? else { return Ok(()) };
            return Ok(write(&report, context)?);
        }
        let mut is_first = true;
        context.follow(&request, |reply, context| {
            if context.json {
                context.print_json(reply)?;
                return Ok(());
            }
            let report = serde_json::from_str(reply.get()).map_err(ClientError::Garbled)?;
            if context.environment.stdout_is_terminal {
                write!(context.out, "\x1b[H\x1b[J")?; // in place of what was shown
            } else if !is_first {
                writeln!(context.out)?;
            }
            is_first = false;
            write(&report, context)?;
            context.out.flush()?;
            Ok(())
        })
    }
}

fn write(report: &HardwareReport, context: &mut Context<'_>) -> io::Result<()> {
    let ram = report.ram;
    if ram.total > 0 {
        let used = ByteSize(ram.total.saturating_sub(ram.available));
        let (available, total) = (ByteSize(ram.available), ByteSize(ram.total));
        writeln!(context.out, "memory     {available} of {total} available, {used} used")?;
    }
    if let Some(line) = processor(&report.cpu) {
        writeln!(context.out, "processor  {line}")?;
    }
    write_host(report, context)?;
    // What concerns one card stands below it.
    report.other_notes().try_for_each(|note| writeln!(context.out, "note       {}", clean(note)))?;
    writeln!(context.out)?;
    write_gpus(report, context)?;
    write_engines(report, context)
}

fn processor(cpu: &Cpu) -> Option<String> {
    let count = |number: Option<u64>, what: &str| {
        number.map(|number| format!("{number} {what}{}", if number == 1 { "" } else { "s" }))
    };
    let name = cpu.name.as_ref().map(|name| clean(name).into_owned());
    let parts: Vec<String> =
        [name, count(cpu.cores, "core"), count(cpu.threads, "thread")].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn write_host(report: &HardwareReport, context: &mut Context<'_>) -> io::Result<()> {
    if !report.cpu.features.is_empty() {
        writeln!(context.out, "           {}", clean(&report.cpu.features.join(" ")))?;
    }
    for Node { node, total, free } in &report.host.numa {
        writeln!(context.out, "node {node:<5} {} of {} free", ByteSize(*free), ByteSize(*total))?;
    }
    if let Some(pressure) = report.host.pressure.filter(|percent| *percent >= 1.0) {
        writeln!(
            context.out,
            "pressure   in {pressure:.0} % of the last 10 s some process waited for memory"
        )?;
    }
    if report.host.wsl {
        writeln!(
            context.out,
            "system     Linux inside Windows: memory= in .wslconfig says how much it gets"
        )?;
    }
    Ok(())
}

/// What the kernel or a driver knows of one card.
struct Shown<'a> {
    row: [String; 6],
    pools: &'a [Pool],
    processes: &'a BTreeMap<u32, u64>,
    why: &'a str,
}

fn shown(gpu: &Gpu) -> Shown<'_> {
    let row = [
        clean(&gpu.id).into_owned(),
        clean(&gpu.name).into_owned(),
        ByteSize(gpu.free).to_string(),
        ByteSize(gpu.total).to_string(),
        address(gpu.pci.as_deref()),
        if gpu.shares_ram { "the machine's".into() } else { String::new() },
    ];
    Shown { row, pools: &gpu.pools, processes: &gpu.processes, why: "" }
}

fn unknown<'a>(card: &'a Card, seen: Option<&Gpu>) -> Shown<'a> {
    let total = match (card.total, card.at_least) {
        (Some(total), _) => ByteSize(total).to_string(),
        (None, Some(bytes)) => format!("≥ {}", ByteSize(bytes)),
        (None, None) => "?".into(),
    };
    let state = match card.state {
        CardState::Asleep => "asleep",
        CardState::Lost => "lost",
        CardState::Untold => "not known",
    };
    let total = seen.map_or(total, |gpu| ByteSize(gpu.total).to_string());
    let id = seen.map(|gpu| gpu.id.as_str()).or(card.id.as_deref()).unwrap_or("-");
    let name = seen.map_or(&card.name, |gpu| &gpu.name);
    let (id, name) = (clean(id).into_owned(), clean(name).into_owned());
    let row = [id, name, "?".into(), total, address(card.pci.as_deref()), state.into()];
    Shown { row, pools: &[], processes: &card.processes, why: &card.why }
}

fn address(pci: Option<&str>) -> String {
    pci.map(|pci| clean(pci).into_owned()).unwrap_or_default()
}

/// Why models run on the processor, where that is known: without an engine nobody can tell of a card that is there.
fn on_processor(report: &HardwareReport) -> Option<&'static str> {
    if report.gpus.is_empty() && report.cards.is_empty() {
        return Some("no GPU that can be used was found");
    }
    let was_asked = |engine: &&EngineDevices| engine.version.is_some() || engine.note.is_none();
    // One that could not be asked, as its note says, may see them.
    let mut asked = report.engines.iter().filter(was_asked).peekable();
    let is_seen = asked.peek().is_none() || asked.any(|engine| !engine.devices.is_empty());
    (!is_seen).then_some("no engine sees any of these GPUs")
}

fn write_gpus(report: &HardwareReport, context: &mut Context<'_>) -> io::Result<()> {
    if let Some(why) = on_processor(report) {
        writeln!(context.out, "{why}: models run on the processor")?;
    }
    // What an engine has seen of a card that sleeps now tells its name; what is free of it is not known.
    let of = |card: &Card| {
        let is_it = |gpu: &&Gpu| card.state == CardState::Asleep && card.pci.is_some() && gpu.pci == card.pci;
        report.gpus.iter().find(is_it)
    };
    let sleeps = |gpu: &&Gpu| report.cards.iter().any(|card| of(card).is_some_and(|it| it.pci == gpu.pci));
    let awake = report.gpus.iter().filter(|gpu| !sleeps(gpu)).map(shown);
    let all: Vec<Shown<'_>> = awake.chain(report.cards.iter().map(|card| unknown(card, of(card)))).collect();
    if all.is_empty() {
        return Ok(());
    }
    let columns = [
        Column::Left("GPU"),
        Column::Left("NAME"),
        Column::Right("FREE"),
        Column::Right("TOTAL"),
        Column::Left("ADDRESS"),
        Column::Left("MEMORY"),
    ];
    let mut table = Table::new(columns, 1);
    all.iter().for_each(|shown| table.push(shown.row.clone()));
    let below = |out: &mut dyn io::Write, number: usize| {
        let Some(Shown { pools, processes, why, .. }) = all.get(number) else { return Ok(()) };
        for Pool { name, total, used } in *pools {
            let (free, total) = (ByteSize(total.saturating_sub(*used)), ByteSize(*total));
            let what = if name == "gtt" { ", pages of main memory" } else { "" };
            writeln!(out, "  {} {free} of {total} free{what}", clean(name))?;
        }
        for (pid, bytes) in *processes {
            let name = report.holders.get(pid).map_or("?", String::as_str);
            writeln!(out, "  {pid} {} holds {}", clean(name), ByteSize(*bytes))?;
        }
        if why.is_empty() { Ok(()) } else { writeln!(out, "  {}", clean(why)) }
    };
    table.write_below(context.out, context.style, context.environment.width, below)
}

fn write_engines(report: &HardwareReport, context: &mut Context<'_>) -> io::Result<()> {
    let Style { strong, off, warn, .. } = context.style;
    writeln!(context.out, "\n{strong}ENGINES{off}")?;
    if report.engines.is_empty() {
        return writeln!(context.out, "none was found: modelctl engines says where was looked");
    }
    for engine in &report.engines {
        let sees = if engine.note.is_some() && engine.devices.is_empty() {
            format!("{warn}no GPU{off}")
        } else {
            devices(&engine.devices)
        };
        writeln!(
            context.out,
            "{} sees {sees}  {}{}",
            clean(&engine.engine),
            clean(&engine.program),
            engine.version.as_deref().map_or_else(String::new, |version| format!("  {}", clean(version)))
        )?;
        if let Some(note) = &engine.note {
            writeln!(context.out, "  {}", clean(note))?;
        }
    }
    Ok(())
}

/// The names by which an engine calls its devices.
pub(super) fn devices(devices: &[Gpu]) -> String {
    let ids: Vec<_> = devices.iter().map(|gpu| clean(&gpu.id)).collect();
    if ids.is_empty() { "no GPU".into() } else { ids.join(" ") }
}
