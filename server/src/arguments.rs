//! Arguments that several subcommands share, and the error that says one of them cannot be used.

use anyhow::Context;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use domain::dataset::count_labels;
use domain::hub::HubAddress;
use domain::spec::{KNOBS, Knob, KnobKind, Quantization, TrainSpec};
use engine::classify::ClassifierFile;
use engine::device::{self, Chosen};
use engine::{BaseModel, Device, EngineError};
use service::hub::{Hub, HubSettings};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

/// The base model that lies in the repository, seen from its root.
pub const DEFAULT_BASE_MODEL: &str = "data/base/tohum-16m.gguf";

/// Where the tables are.
#[derive(Args, Clone, Debug)]
pub struct DatabaseArgument {
    /// Database, such as postgres://ayar:password@localhost/ayar, of which several servers may make one; left out: a SQLite
    /// file in the data folder. A DATABASE_URL of PostgreSQL in the environment is read, too
    #[arg(
        long,
        env = "AYAR_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = postgres_of_the_environment(),
        hide_default_value = true
    )]
    pub database_url: Option<String>,
}

/// Where other programs look for theirs. What it says of another kind of database is not meant for us.
fn postgres_of_the_environment() -> Option<&'static str> {
    static URL: LazyLock<Option<String>> = LazyLock::new(|| {
        std::env::var("DATABASE_URL").ok().filter(|url| url.starts_with("postgres:") || url.starts_with("postgresql:"))
    });
    URL.as_deref()
}

/// An argument that cannot be used. The process ends with exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The file named by an argument is there.
pub fn require_file(argument: &str, path: &Path) -> Result<(), Usage> {
    if path.is_file() {
        return Ok(());
    }
    let what = if path.is_dir() { "is a folder, not a file" } else { "does not exist" };
    Err(Usage(format!("{argument}: {} {what}{}", path.display(), looked_from(path))))
}

/// What an argument names: a file or folder, or what the cache of the Hub has under that address.
pub fn on_disk(argument: &str, given: &Path) -> Result<PathBuf, Usage> {
    if given.exists() {
        return Ok(given.to_path_buf());
    }
    let words = given.to_str().unwrap_or_default();
    if let Some(cached) = in_cache(words) {
        return Ok(cached);
    }
    let elsewhere = match HubAddress::parse(words) {
        Ok(address) => {
            format!(", and the cache of the Hub has no {address}: fetch it with `ayar models add {address}`")
        }
        Err(_) => String::new(),
    };
    Err(Usage(format!("{argument}: {} does not exist{}{elsewhere}", given.display(), looked_from(given))))
}

fn in_cache(words: &str) -> Option<PathBuf> {
    Hub::new(HubSettings::from_environment()).cached(&HubAddress::parse(words).ok()?)
}

/// For relative paths: the folder they are relative to, which is what people get wrong.
pub fn looked_from(path: &Path) -> String {
    match std::env::current_dir() {
        Ok(here) if path.is_relative() => format!(" (looked for from {})", here.display()),
        _ => String::new(),
    }
}

// No doc comments on structs that are flattened: clap would take them for the help of the whole subcommand.
#[derive(Args, Clone, Debug)]
pub struct DeviceArgument {
    /// What computes: auto for the first usable GPU and else the CPU, cpu, cuda, or cards by number such as cuda:0,1
    #[arg(long, value_name = "DEVICE", default_value = "auto", env = "AYAR_DEVICE")]
    device: WantedDevice,
}

impl DeviceArgument {
    /// The device, if it can be had, with a note where it is not what was hoped for.
    pub fn choose(&self) -> Result<Chosen, Usage> {
        let wanted = match &self.device {
            WantedDevice::Automatic => None,
            WantedDevice::Named(device) => Some(device),
        };
        device::choose(wanted).map_err(|error| Usage(format!("--device: {error}")))
    }
}

/// The value of `--device`.
#[derive(Clone, Debug)]
enum WantedDevice {
    Automatic,
    Named(Device),
}

impl FromStr for WantedDevice {
    type Err = EngineError;

    fn from_str(words: &str) -> Result<Self, EngineError> {
        if words == "auto" { Ok(Self::Automatic) } else { words.parse().map(Self::Named) }
    }
}

// Shared by the commands that compute in this process.
#[derive(Args, Clone, Debug)]
pub struct BaseArguments {
    /// Base model: a GGUF file, a folder with config.json and safetensors, or a model of the Hub that `ayar models add` has
    /// fetched; with an adapter, the one that it was trained on
    #[arg(long, value_name = "MODEL", default_value = DEFAULT_BASE_MODEL, env = "AYAR_BASE_MODEL")]
    model: PathBuf,
    #[command(flatten)]
    device: DeviceArgument,
}

impl BaseArguments {
    /// Checks both before any other work is done, and says on stderr what is to be said of the device.
    pub fn choose(&self) -> Result<Base, Usage> {
        let model = on_disk("--model", &self.model)?;
        let Chosen { device, note } = self.device.choose()?;
        if let Some(note) = note {
            eprintln!("{note}");
        }
        Ok(Base { model, device })
    }
}

/// A base model that is there and a device that can be had.
pub struct Base {
    model: PathBuf,
    device: Device,
}

impl Base {
    pub fn path(&self) -> &Path {
        &self.model
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    pub fn load(&self, quantization: Quantization) -> anyhow::Result<Arc<BaseModel>> {
        let base = BaseModel::load(&self.model, quantization, &self.device)
            .with_context(|| format!("The base model {} could not be loaded", self.model.display()))?;
        Ok(Arc::new(base))
    }
}

/// The folder of an adapter, given it or the folder of the run that made it.
pub fn adapter_folder(given: &Path) -> Result<PathBuf, Usage> {
    let cached = given.to_str().and_then(in_cache);
    for folder in [given.to_path_buf(), engine::train::adapter_directory(given)].into_iter().chain(cached) {
        if folder.join("adapter_config.json").is_file() {
            return Ok(folder);
        }
    }
    Err(Usage(format!(
        "--adapter: {} holds no adapter_config.json{}. Name the folder that `ayar train --out` wrote, or an adapter in \
         PEFT's format.",
        given.display(),
        looked_from(given)
    )))
}

// What the folder of an adapter does not say if another program has made it.
#[derive(Args, Clone, Debug, Default)]
pub struct ForeignAdapterArguments {
    /// Labels to choose from, separated by commas: for an adapter without classifier.json, which `ayar train` writes
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    labels: Vec<String>,
    #[command(flatten)]
    knobs: PromptKnobArguments,
}

impl ForeignAdapterArguments {
    /// The labels and the knobs of an adapter that has no classifier.json.
    ///
    /// # Errors
    /// There are no two different labels.
    pub fn told(&self, adapter: &Path) -> Result<(Vec<String>, TrainSpec), Usage> {
        if self.labels.is_empty() {
            return Err(Usage(format!(
                "--labels: {} has no {}, so its labels are not known. Name them, separated by commas, and with \
                 --prompt_template, --max_length and --quantization what it was trained with, where that is not the \
                 default.",
                adapter.display(),
                ClassifierFile::NAME
            )));
        }
        let labels: Vec<String> = self.labels.iter().map(|label| label.trim().to_string()).collect();
        let counts = count_labels(labels.iter().map(String::as_str));
        if labels.iter().any(String::is_empty) || counts.len() < 2 || counts.len() < labels.len() {
            return Err(Usage("--labels: there must be two or more of them, each with a name of its own.".to_string()));
        }
        Ok((labels, self.knobs.0.apply(TrainSpec::default())?))
    }

    /// Nothing was told of an adapter that says all this itself.
    pub fn refuse_all(&self, adapter: &Path) -> Result<(), Usage> {
        if self.labels.is_empty() && self.knobs.0.given.is_empty() {
            return Ok(());
        }
        Err(Usage(format!(
            "{} has a {}, which says its labels, prompt, length and quantization. Leave out --labels and the others.",
            adapter.display(),
            ClassifierFile::NAME
        )))
    }
}

/// The knobs that decide how a text looks to the model and how its weights are held.
#[derive(Clone, Debug, Default)]
struct PromptKnobArguments(KnobArguments);

impl PromptKnobArguments {
    fn knobs() -> impl Iterator<Item = &'static Knob> {
        KNOBS.iter().filter(|knob| ["prompt_template", "max_length", "quantization"].contains(&knob.name))
    }
}

impl Args for PromptKnobArguments {
    fn augment_args(command: Command) -> Command {
        let command = command.next_help_heading("Adapters without classifier.json");
        Self::knobs().fold(command, |command, knob| command.arg(knob_argument(knob)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PromptKnobArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(KnobArguments::given(matches, Self::knobs())))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// One option for every knob of the recipe, made from the list of knobs, so that none can be missing here.
#[derive(Clone, Debug, Default)]
pub struct KnobArguments {
    /// Knobs that were given, with the words given for them. Each has passed its check.
    given: Vec<(&'static str, String)>,
}

impl KnobArguments {
    fn given(matches: &ArgMatches, knobs: impl Iterator<Item = &'static Knob>) -> Self {
        let words = |knob: &Knob| matches.get_one::<String>(knob.name).cloned();
        Self { given: knobs.filter_map(|knob| Some((knob.name, words(knob)?))).collect() }
    }

    pub fn are_given(&self) -> bool {
        !self.given.is_empty()
    }

    /// `spec` with the given knobs set.
    pub fn apply(&self, mut spec: TrainSpec) -> Result<TrainSpec, Usage> {
        for (name, words) in &self.given {
            spec.set(name, words).map_err(|error| Usage(error.message))?;
        }
        spec.check().map_err(|error| Usage(error.message))?;
        Ok(spec)
    }
}

impl Args for KnobArguments {
    fn augment_args(command: Command) -> Command {
        KNOBS.iter().fold(command.next_help_heading("Recipe"), |command, knob| command.arg(knob_argument(knob)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for KnobArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self::given(matches, KNOBS.iter()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn knob_argument(knob: &'static Knob) -> Arg {
    let argument = Arg::new(knob.name)
        .long(knob.name)
        .alias(knob.name.replace('_', "-"))
        .value_name(value_name(knob.kind))
        .help(knob_help(knob))
        .allow_hyphen_values(true)
        .value_parser(move |words: &str| knob.check(words).map(|()| words.to_string()));
    match knob.kind {
        // `--completion_only_loss` alone switches it on.
        KnobKind::Switch => argument.num_args(0..=1).default_missing_value("true").allow_hyphen_values(false),
        _ => argument,
    }
}

fn value_name(kind: KnobKind) -> &'static str {
    match kind {
        KnobKind::Integer { .. } => "N",
        KnobKind::Number { .. } => "X",
        KnobKind::Choice(_) => "WORD",
        KnobKind::Switch => "true|false",
        KnobKind::Modules | KnobKind::ClassWeights => "LIST",
        KnobKind::Template => "TEXT",
    }
}

fn knob_help(knob: &Knob) -> String {
    let choices = match knob.kind {
        KnobKind::Choice(choices) => format!(" One of {}.", choices.join(", ")),
        KnobKind::Modules => " A comma-separated list, or all-linear.".to_string(),
        _ => String::new(),
    };
    let default = match knob.kind {
        KnobKind::Template => "the notebook's prompt".to_string(),
        _ => TrainSpec::default().get(knob.name).unwrap_or_default(),
    };
    format!("{}{choices} [notebook: {default}]", knob.help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<TrainSpec, String> {
        let command = KnobArguments::augment_args(Command::new("test")).arg(Arg::new("json").long("json").num_args(0));
        let matches = command.try_get_matches_from([&["test"], words].concat()).map_err(|error| error.to_string())?;
        let knobs = KnobArguments::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        knobs.apply(TrainSpec::default()).map_err(|usage| usage.0)
    }

    #[test]
    fn every_knob_is_an_option_under_its_name_and_with_dashes() {
        let wanted = TrainSpec::small_base();
        for dashes in [false, true] {
            let mut words = Vec::new();
            for knob in KNOBS {
                let name = if dashes { knob.name.replace('_', "-") } else { knob.name.to_string() };
                words.push(format!("--{name}={}", wanted.get(knob.name).expect(knob.name)));
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(read(&words).unwrap(), wanted);
        }
    }

    #[test]
    fn a_value_out_of_range_is_refused_by_name() {
        for words in [["--r", "0"], ["--r", "-1"], ["--learning_rate", "fast"], ["--prompt_template", "no place"]] {
            let error = read(&words).unwrap_err();
            assert!(error.contains(words[0]), "{error}");
        }
    }

    #[test]
    fn a_switch_needs_no_value() {
        assert!(read(&["--completion_only_loss", "--json"]).unwrap().completion_only_loss);
        assert!(!read(&["--completion_only_loss", "false"]).unwrap().completion_only_loss);
    }
}
