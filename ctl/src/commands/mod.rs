//! What can be typed: one file and one struct for each command; the struct's comment is its help.

mod alias;
mod completions;
mod curve;
mod df;
mod doctor;
mod duplicates;
mod engines;
mod events;
mod hardware;
mod home;
mod inspect;
mod launch;
mod list;
mod logs;
mod man;
mod note;
mod order;
mod pin;
mod plan;
mod ps;
mod roots;
mod scan;
mod show;
mod stop;
mod sync;
mod tag;
mod tree;
mod verify;

use crate::context::Context;
use anyhow::Result;
use clap::{Parser, Subcommand};

/// Find, explain and start the AI models on this machine
///
/// Without a command: what there is, what is wrong, what runs.
#[derive(Debug, Parser)]
#[command(
    name = "modelctl",
    version,
    after_help = "\
EXAMPLES:
  modelctl                                    the home screen
  modelctl list format=gguf 'size<8G'         the GGUF models below 8 GiB
  modelctl show qwen3                         all of one model; a unique prefix will do
  modelctl launch llama.cpp qwen3 --max-ctx   start it, Ctrl-C stops it
  modelctl launch llama.cpp qwen3 --detach    start it and leave it; ps, logs and stop are for it
  modelctl list --json | jq '.models[].name'

Exit codes: 0 done, 1 refused or failed, 2 usage, 3 daemon unreachable, 4 unsafe."
)]
pub(crate) struct Cli {
    /// Print the answer as JSON, as it came
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::ListArgs),
    Show(show::ShowArgs),
    Tree(tree::TreeArgs),
    Duplicates(duplicates::DuplicatesArgs),
    Df(df::DfArgs),
    Inspect(inspect::InspectArgs),
    Roots(roots::RootsArgs),
    Sync(sync::SyncArgs),
    Scan(scan::ScanArgs),
    Doctor(doctor::DoctorArgs),
    Verify(verify::VerifyArgs),
    Tag(tag::TagArgs),
    Note(note::NoteArgs),
    Pin(pin::PinArgs),
    Alias(alias::AliasArgs),
    Events(events::EventsArgs),
    Hardware(hardware::HardwareArgs),
    Engines(engines::EnginesArgs),
    Plan(plan::PlanArgs),
    Launch(launch::LaunchArgs),
    Ps(ps::PsArgs),
    Stop(stop::StopArgs),
    Logs(logs::LogsArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Cli {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        match self.command {
            None => home::run(context),
            Some(Command::List(args)) => args.run(context),
            Some(Command::Show(args)) => args.run(context),
            Some(Command::Tree(args)) => args.run(context),
            Some(Command::Duplicates(args)) => args.run(context),
            Some(Command::Df(args)) => args.run(context),
            Some(Command::Inspect(args)) => args.run(context),
            Some(Command::Roots(args)) => args.run(context),
            Some(Command::Sync(args)) => args.run(context),
            Some(Command::Scan(args)) => args.run(context),
            Some(Command::Doctor(args)) => args.run(context),
            Some(Command::Verify(args)) => args.run(context),
            Some(Command::Tag(args)) => args.run(context),
            Some(Command::Note(args)) => args.run(context),
            Some(Command::Pin(args)) => args.run(context),
            Some(Command::Alias(args)) => args.run(context),
            Some(Command::Events(args)) => args.run(context),
            Some(Command::Hardware(args)) => args.run(context),
            Some(Command::Engines(args)) => args.run(context),
            Some(Command::Plan(args)) => args.run(context),
            Some(Command::Launch(args)) => args.run(context),
            Some(Command::Ps(args)) => args.run(context),
            Some(Command::Stop(args)) => args.run(context),
            Some(Command::Logs(args)) => args.run(context),
            Some(Command::Completions(args)) => args.run(context),
            Some(Command::Man(args)) => args.run(context),
        }
    }
}

/// Prints generated text as it is, or as one JSON string.
fn print_text(context: &mut Context<'_>, text: &[u8]) -> Result<()> {
    if context.json {
        let string = serde_json::value::to_raw_value(&String::from_utf8_lossy(text))?;
        return Ok(context.print_json(&string)?);
    }
    Ok(context.out.write_all(text)?)
}
