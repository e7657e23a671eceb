//! `ayar`: the process. It reads its arguments, does one thing and says how it went.
//!
//! Exit codes: 0 for done, 1 for a failure, 2 for arguments that cannot be used.

mod arguments;
mod commands;
mod config;
mod figures;
mod http;
mod interrupt;
mod progress;
mod router;
mod scratch;
mod state;
mod table;
mod telemetry;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use config::file::{self, ConfigFile};
use std::ffi::OsString;
use std::process::ExitCode;
use telemetry::LogFormat;

const SERVE: &str = "serve";
const CONFIG: &str = "config";
const CHECK: &str = "check";

/// Fine-tunes a 4-bit Llama with LoRA into a text classifier, in the browser or from the command line.
#[derive(Parser)]
#[command(name = "ayar", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the web app
    Serve(config::ServeConfig),
    /// Look at what the web app is set up with
    Config(commands::config::ConfigArguments),
    /// Train a classifier from CSV files and compare it with the base
    Train(Box<commands::train::TrainArguments>),
    /// Measure a trained classifier on a CSV file
    Evaluate(commands::evaluate::EvaluateArguments),
    /// Label texts with a trained classifier
    Classify(commands::classify::ClassifyArguments),
    /// Take a trained classifier away, for PEFT, Transformers or llama.cpp
    Export(commands::export::ExportArguments),
    /// Fetch, list, check and remove models of the Hugging Face Hub
    Models(commands::models::ModelsArguments),
    /// Fetch an adapter or a model of the Hub as files
    Pull(commands::models::PullArguments),
    /// Help people who cannot sign in
    People(commands::people::PeopleArguments),
    /// Upload an adapter or an export to the Hub, as one commit
    Push(commands::push::PushArguments),
    /// Examine files of labelled texts, and import them
    Data(commands::data::DataArguments),
    /// Measure speed and memory with a fixed recipe
    Bench(commands::bench::BenchArguments),
    /// List what models can compute on here
    Devices(commands::devices::DevicesArguments),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ayar: {error:#}");
            if error.is::<arguments::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn run() -> anyhow::Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let mut parser = Cli::command();
    let mut file = None;
    if arguments.get(1).is_some_and(|command| command == SERVE || command == CONFIG)
        && let Some(path) = file::named(&arguments)
    {
        let serve = parser.find_subcommand(SERVE).cloned().unwrap_or_default();
        let read = ConfigFile::read(&path, &serve)?;
        parser = parser
            .mut_subcommand(SERVE, |serve| read.put_into(serve))
            .mut_subcommand(CONFIG, |config| config.mut_subcommand(CHECK, |check| read.put_into(check)));
        file = Some(read);
    }
    // clap ends the process itself: 0 after help, 2 for arguments it does not understand.
    let matches = parser.clone().get_matches_from(&arguments);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let log_format = match &cli.command {
        Command::Serve(config) => config.log_format,
        _ => LogFormat::Text,
    };
    telemetry::start(matches!(cli.command, Command::Serve(_)), log_format);
    match cli.command {
        Command::Config(_) => commands::config::check(&parser, &matches, file.as_ref()),
        Command::Serve(config) => commands::serve::serve(config),
        Command::Train(arguments) => commands::train::train(*arguments),
        Command::Evaluate(arguments) => commands::evaluate::evaluate(arguments),
        Command::Classify(arguments) => commands::classify::classify(arguments),
        Command::Export(arguments) => commands::export::export(arguments),
        Command::Models(arguments) => commands::models::models(arguments),
        Command::Pull(arguments) => commands::models::pull(&arguments),
        Command::People(arguments) => commands::people::people(arguments),
        Command::Push(arguments) => commands::push::push(&arguments),
        Command::Data(arguments) => commands::data::data(arguments),
        Command::Bench(arguments) => commands::bench::bench(arguments),
        Command::Devices(arguments) => commands::devices::devices(&arguments),
    }
}
