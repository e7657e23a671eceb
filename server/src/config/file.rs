//! The configuration file: TOML whose keys are the options of `ayar serve` without the dashes in front. What it says takes
//! the place of the defaults, so that an environment variable and an argument count before it.

use crate::arguments::Usage;
use anyhow::{Context, bail};
use clap::{ArgAction, Command};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::Value;

/// Names the file where no `--config` does.
pub const ENVIRONMENT: &str = "AYAR_CONFIG";
const OPTION: &str = "--config";
/// Longer than anybody's configuration.
const LONGEST_BYTES: u64 = 1024 * 1024;

/// What a file says: values by option, as they would stand on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    pub path: PathBuf,
    pub values: BTreeMap<String, Vec<String>>,
}

/// The file that the arguments or the environment name. Looked for ahead of the real parser, which is then told what the
/// file says.
pub fn named(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == OPTION {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(path) = argument.to_str().and_then(|argument| argument.strip_prefix(OPTION)?.strip_prefix('=')) {
            return Some(PathBuf::from(path));
        }
    }
    std::env::var_os(ENVIRONMENT).filter(|path| !path.is_empty()).map(PathBuf::from)
}

impl ConfigFile {
    /// # Errors
    /// It cannot be read, is no TOML, has a key that is no option of `serve`, or a value that no option can have.
    pub fn read(path: &Path, serve: &Command) -> anyhow::Result<Self> {
        let told = || format!("The configuration file {} cannot be used", path.display());
        let size = std::fs::metadata(path).with_context(told)?.len();
        if size > LONGEST_BYTES {
            return Err(Usage(format!("{}: it has {size} bytes.", told())).into());
        }
        let text = std::fs::read_to_string(path).with_context(told)?;
        let values = parse(&text, serve).map_err(|error| Usage(format!("{}: {error:#}", told())))?;
        Ok(Self { path: path.to_path_buf(), values })
    }

    /// The command with what the file says in the place of its defaults.
    pub fn put_into(&self, serve: Command) -> Command {
        self.values.iter().fold(serve, |serve, (key, values)| {
            let id =
                serve.get_arguments().find(|known| known.get_long() == Some(key)).map(|known| known.get_id().clone());
            let Some(id) = id else { return serve };
            let values = values.clone();
            serve.mut_arg(id, |argument| argument.default_values(values))
        })
    }
}

fn parse(text: &str, serve: &Command) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| anyhow::anyhow!("{}", error.to_string().trim()))?;
    let known: Vec<&str> = serve
        .get_arguments()
        .filter_map(|known| known.get_long())
        .filter(|known| *known != "config" && *known != "help")
        .collect();
    let mut values = BTreeMap::new();
    for (key, value) in table {
        if !known.contains(&key.as_str()) {
            bail!("there is no setting \"{key}\"{}", closest(&key, &known));
        }
        values.insert(key.clone(), words(&key, value, serve)?);
    }
    Ok(values)
}

fn words(key: &str, value: Value, serve: &Command) -> anyhow::Result<Vec<String>> {
    let takes_many = serve
        .get_arguments()
        .any(|known| known.get_long() == Some(key) && matches!(known.get_action(), ArgAction::Append));
    match value {
        Value::Array(list) if takes_many => {
            list.into_iter().map(|value| word(key, value)).collect::<anyhow::Result<Vec<_>>>()
        }
        value => Ok(vec![word(key, value)?]),
    }
}

fn word(key: &str, value: Value) -> anyhow::Result<String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(is_so) => Ok(is_so.to_string()),
        other => bail!("\"{key}\" is {}, and needs a text or a number", other.type_str()),
    }
}

fn closest(key: &str, known: &[&str]) -> String {
    let key = key.replace('_', "-");
    let near = known.iter().map(|known| (strsim::jaro_winkler(&key, known), known)).filter(|(score, _)| *score > 0.8);
    match near.max_by(|one, other| one.0.total_cmp(&other.0)) {
        Some((_, near)) => format!("; did you mean \"{near}\"?"),
        None => format!("; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServeConfig;
    use clap::{Args, FromArgMatches};

    fn serve() -> Command {
        ServeConfig::augment_args(Command::new("serve"))
    }

    fn refused(text: &str) -> String {
        format!("{:#}", parse(text, &serve()).unwrap_err())
    }

    #[test]
    fn a_file_counts_before_defaults_and_after_arguments() {
        let text =
            "addr = \"0.0.0.0:80\"\nmodel-folder = [\"one\", \"two\"]\npass-budget-ms = 7\nlog-format = \"json\"\n";
        let file = ConfigFile { path: "a.toml".into(), values: parse(text, &serve()).unwrap() };
        let matches = file.put_into(serve()).get_matches_from(["serve", "--addr", "127.0.0.1:81"]);
        let config = ServeConfig::from_arg_matches(&matches).unwrap();
        assert_eq!(config.addr.to_string(), "127.0.0.1:81");
        assert_eq!(config.model_folders, ["one", "two"].map(PathBuf::from));
        assert_eq!(config.serving.limits().pass_budget.as_millis(), 7);
        let matches = file.put_into(serve()).try_get_matches_from(["serve"]).unwrap();
        assert_eq!(ServeConfig::from_arg_matches(&matches).unwrap().addr.to_string(), "0.0.0.0:80");
        // What the file says is held to what an argument is held to.
        let values = parse("pass-budget-ms = 0", &serve()).unwrap();
        assert!(
            ConfigFile { path: "a.toml".into(), values }.put_into(serve()).try_get_matches_from(["serve"]).is_err()
        );
    }

    #[test]
    fn what_is_no_setting_is_refused_with_the_nearest() {
        assert!(refused("adr = \"1\"").contains("did you mean \"addr\"?"));
        assert!(refused("data_dir = \"x\"").contains("did you mean \"data-dir\"?"));
        assert!(refused("xyzzy = 1").contains("there are "));
        assert!(refused("config = \"b.toml\"").contains("no setting \"config\""));
        assert!(refused("addr = [1]").contains("array"));
        assert!(refused("addr = { a = 1 }").contains("table"));
        assert!(refused("addr = ").contains("line 1"), "{}", refused("addr = "));
    }

    #[test]
    fn the_file_is_found_among_the_arguments() {
        let named = |arguments: &[&str]| named(&arguments.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(named(&["ayar", "serve", "--config", "a.toml"]), Some("a.toml".into()));
        assert_eq!(named(&["ayar", "serve", "--config=a.toml", "--addr", "x"]), Some("a.toml".into()));
        assert_eq!(named(&["ayar", "serve", "--config"]), None);
    }
}
