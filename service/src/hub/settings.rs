//! Where the Hub is, who asks, and where files are kept: as `huggingface_hub` reads it from the environment, so that
//! Ayar and Python on one machine share token and cache.

use domain::error::UserError;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
const LONGEST_TOKEN: usize = 1_000;

/// How the Hub is reached and where its files are kept.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// Such as `https://huggingface.co`, or a mirror.
    pub endpoint: String,
    /// Sent to the endpoint alone, never to where it redirects.
    pub token: Option<HubToken>,
    /// In the layout of `huggingface_hub`: `models--owner--name` and so on below it.
    pub cache: PathBuf,
    /// True: nothing is asked of the network, the cache is all there is.
    pub offline: bool,
}

impl HubSettings {
    /// What the environment says, under the names and with the precedence of `huggingface_hub`: `HF_ENDPOINT`;
    /// `HF_TOKEN`, else the file `HF_TOKEN_PATH`, else `$HF_HOME/token`; `HF_HUB_CACHE`, else `$HF_HOME/hub`;
    /// `HF_HUB_OFFLINE`.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_true = |name: &str| {
            variable(name)
                .is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str()))
        };
        let path = |name: &str| variable(name).map(|value| expanded(&value, variable("HOME").as_deref()));

        let home = path("HF_HOME").unwrap_or_else(|| {
            let caches = path("XDG_CACHE_HOME").unwrap_or_else(|| expanded("~/.cache", variable("HOME").as_deref()));
            caches.join("huggingface")
        });
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let token = match is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            true => None,
            false => variable("HF_TOKEN")
                .or_else(|| variable("HUGGING_FACE_HUB_TOKEN"))
                .or_else(|| std::fs::read_to_string(path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"))).ok()),
        };
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: token.filter(|text| !text.trim().is_empty()).and_then(|text| {
                HubToken::parse(&text).inspect_err(|error| tracing::warn!(%error, "the Hub's token is not used")).ok()
            }),
            cache: path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")).unwrap_or_else(|| home.join("hub")),
            offline: is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE"),
        }
    }
}

/// `~` at the beginning is the home folder.
fn expanded(path: &str, home: Option<&str>) -> PathBuf {
    match (path.strip_prefix('~'), home) {
        (Some(""), Some(home)) => PathBuf::from(home),
        (Some(rest), Some(home)) if rest.starts_with('/') => PathBuf::from(format!("{home}{rest}")),
        _ => PathBuf::from(path),
    }
}

/// A person's access token. Neither `Debug` nor any error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct HubToken(String);

impl HubToken {
    /// Takes a token as a person pastes it, with blanks and line breaks around it.
    ///
    /// # Errors
    /// It is empty, far too long, or has characters that no token has.
    pub fn parse(text: &str) -> Result<Self, UserError> {
        let token = text.trim();
        if token.is_empty() || token.len() > LONGEST_TOKEN || !token.chars().all(|c| c.is_ascii_graphic()) {
            return Err(UserError::invalid(
                "This is no access token of the Hub: a token is one word of letters, digits and _, such as hf_… . Copy \
                 it again from the Hub's settings.",
            ));
        }
        Ok(Self(token.to_owned()))
    }

    pub(super) fn as_bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for HubToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HubToken(…)")
    }
}

/// How long to wait, and how often to try again.
#[derive(Clone, Debug)]
pub struct Patience {
    /// A connection that brings no byte for so long is given up.
    pub stall: Duration,
    /// Before the first new attempt; each further pause is twice as long.
    pub pause: Duration,
    /// How often a request that failed for a passing reason is tried again. An attempt that brought at least
    /// [`Patience::progress_bytes`] does not count.
    pub retries: u32,
    pub progress_bytes: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { stall: Duration::from_secs(30), pause: Duration::from_secs(1), retries: 5, progress_bytes: 1 << 20 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::path::Path;

    fn settings(variables: &[(&str, &str)]) -> HubSettings {
        let variables: HashMap<&str, &str> = variables.iter().copied().collect();
        HubSettings::from_variables(|name| variables.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn without_a_word_the_places_are_those_of_huggingface_hub() {
        let plain = settings(&[("HOME", "/home/ada")]);
        assert_eq!(plain.endpoint, DEFAULT_ENDPOINT);
        assert_eq!(plain.cache, Path::new("/home/ada/.cache/huggingface/hub"));
        assert!(plain.token.is_none() && !plain.offline);
    }

    #[test]
    fn the_environment_moves_them() {
        let moved = settings(&[("HOME", "/home/ada"), ("HF_HOME", "~/hf"), ("HF_ENDPOINT", "http://127.0.0.1:1/")]);
        assert_eq!(moved.endpoint, "http://127.0.0.1:1");
        assert_eq!(moved.cache, Path::new("/home/ada/hf/hub"));

        let caches = [("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/cache"), ("HUGGINGFACE_HUB_CACHE", "/old")];
        assert_eq!(settings(&caches).cache, Path::new("/cache"));
        assert_eq!(settings(&caches[2..]).cache, Path::new("/old"));
        assert_eq!(settings(&[("XDG_CACHE_HOME", "/x")]).cache, Path::new("/x/huggingface/hub"));

        for yes in ["1", "on", "True", "YES"] {
            assert!(settings(&[("HF_HUB_OFFLINE", yes)]).offline);
        }
        assert!(!settings(&[("HF_HUB_OFFLINE", "0")]).offline);
    }

    #[test]
    fn a_token_comes_from_the_variable_or_else_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("token"), "hf_home\n").unwrap();
        std::fs::write(folder.path().join("other"), " hf_other ").unwrap();
        let other = folder.path().join("other");
        let token = |name: &str| Some(HubToken(name.to_owned()));

        let all = [("HF_TOKEN", "hf_variable"), ("HF_TOKEN_PATH", other.to_str().unwrap()), ("HF_HOME", home)];
        assert_eq!(settings(&all).token, token("hf_variable"));
        assert_eq!(settings(&all[1..]).token, token("hf_other"));
        assert_eq!(settings(&all[2..]).token, token("hf_home"));
        assert_eq!(settings(&[all[0], ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).token, None);
        assert_eq!(settings(&[("HF_TOKEN", "two words")]).token, None);
    }

    #[test]
    fn a_token_is_not_shown() {
        let settings = settings(&[("HF_TOKEN", "hf_secret")]);
        assert!(!format!("{settings:?}").contains("secret"));
        assert!(HubToken::parse("").is_err() && HubToken::parse("a\nb").is_err());
        assert!(!HubToken::parse("hf_ä").unwrap_err().message.contains('ä'));
    }
}
