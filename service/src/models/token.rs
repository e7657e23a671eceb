//! The Hub's token that a person has typed: kept in a file that only the server's user can read, shown to nobody.

use super::Models;
use crate::datasets::blocking;
use crate::error::{Result, ServiceError};
use crate::hub::{HubError, HubToken};
use domain::catalogue::{HubAccount, TokenSource};
use domain::error::UserError;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// `None` where nobody has typed one.
    pub fn read(&self) -> Option<HubToken> {
        HubToken::parse(&std::fs::read_to_string(&self.path).ok()?).ok()
    }

    fn write(&self, token: &str) -> Result<()> {
        HubToken::parse(token)?;
        let aside = self.path.with_added_extension("partial");
        let write = || {
            // Made anew, so that it has these rights from its first byte on.
            remove(&aside)?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
            file.write_all(token.trim().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&aside, &self.path)
        };
        write().map_err(|error| ServiceError::io(&self.path, error))
    }

    fn forget(&self) -> Result<()> {
        remove(&self.path).map_err(|error| ServiceError::io(&self.path, error))
    }
}

fn remove(path: &std::path::Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Models {
    /// Whose account the Hub is asked with.
    pub async fn account(&self) -> Result<HubAccount> {
        let models = self.clone();
        blocking(move || Ok(models.account_now())).await
    }

    /// Keeps a token that a person has typed; `None` forgets it, and the environment's is used again.
    ///
    /// # Errors
    /// It is no token, or the Hub does not know it: then the one before stays.
    pub async fn set_token(&self, token: Option<String>) -> Result<HubAccount> {
        let models = self.clone();
        blocking(move || {
            let Some(token) = token else {
                models.inner.token.forget()?;
                return Ok(models.account_now());
            };
            let hub = models.hub().with_token(HubToken::parse(&token)?);
            match hub.whoami() {
                // The Hub may be out of reach for now.
                Ok(_) | Err(HubError::Offline | HubError::Network { .. }) => {}
                Err(error) => return Err(UserError::from(error).into()),
            }
            models.inner.token.write(&token)?;
            Ok(models.account_now())
        })
        .await
    }

    fn account_now(&self) -> HubAccount {
        let hub = self.hub();
        let token = match (self.inner.token.read(), &self.inner.hub.token) {
            (Some(_), _) => TokenSource::Typed,
            (None, Some(_)) => TokenSource::Environment,
            (None, None) => TokenSource::None,
        };
        let user =
            if token == TokenSource::None || self.inner.hub.offline { None } else { hub.whoami().ok().flatten() };
        HubAccount { endpoint: self.inner.hub.endpoint.clone(), offline: self.inner.hub.offline, token, user }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_kept_for_the_server_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::new(folder.path().join("hub_token"));
        assert!(file.read().is_none());
        for token in ["hf_one", " hf_two\n"] {
            file.write(token).unwrap();
            assert_eq!(std::fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(file.read(), Some(HubToken::parse(token).unwrap()));
        }
        assert!(file.write("two words").is_err());
        assert_eq!(file.read(), Some(HubToken::parse("hf_two").unwrap()), "what is no token replaces none");
        file.forget().unwrap();
        file.forget().unwrap();
        assert!(file.read().is_none());
    }
}
