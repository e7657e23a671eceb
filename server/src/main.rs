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

use clap::{Parser, Subcommand};
use std::process::ExitCode;

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
    // clap ends the process itself: 0 after help, 2 for arguments it does not understand.
    let cli = Cli::parse();
    telemetry::start(matches!(cli.command, Command::Serve(_)));
    let outcome = match cli.command {
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
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ayar: {error:#}");
            if error.is::<arguments::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
