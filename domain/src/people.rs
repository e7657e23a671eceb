//! People: who acts, what their role lets them do, and the keys by which their programs ask.

pub mod access;
mod checks;

pub use checks::{MAX_KEY_DAYS, MIN_PASSWORD_CHARS, check_key, check_password, parse_email, parse_name};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// None: somebody on this machine, without an account; or the program itself.
    pub user_id: Option<i64>,
    pub name: String,
}

impl Actor {
    /// Whoever it is that uses a server which asks nobody for their name.
    pub fn somebody() -> Self {
        Self { user_id: None, name: "somebody".to_string() }
    }
}

/// What a person may do in a workspace. Each may do all that those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks at everything and classifies.
    Viewer,
    /// Changes datasets, models, runs and deployments.
    Editor,
    /// Besides decides who else may.
    Administrator,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Editor, Self::Administrator];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Administrator => "administrator",
        }
    }

    /// What it may do, in a few words.
    pub fn help(self) -> &'static str {
        match self {
            Self::Viewer => "looks at everything and classifies",
            Self::Editor => "also changes datasets, models, runs and deployments",
            Self::Administrator => "also decides who may do what",
        }
    }
}

/// Something that opens a door: a password, a token, a link, a key. Messages about the program's insides never show it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("…")
    }
}

/// A word that names none of what it should name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

impl FromStr for Role {
    type Err = Unknown;

    fn from_str(word: &str) -> Result<Self, Unknown> {
        Self::ALL.into_iter().find(|role| role.as_str() == word).ok_or(Unknown)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a key lets a program do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Ask classifiers.
    Classify,
    /// Read datasets, runs and their files.
    Read,
    /// Upload, start runs, and change what an editor may.
    Train,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Classify, Self::Read, Self::Train];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Read => "read",
            Self::Train => "train",
        }
    }

    /// What it allows, in a few words.
    pub fn help(self) -> &'static str {
        match self {
            Self::Classify => "ask classifiers",
            Self::Read => "read datasets, runs and their files",
            Self::Train => "upload data, start runs and change what an editor may",
        }
    }
}

impl FromStr for Scope {
    type Err = Unknown;

    fn from_str(word: &str) -> Result<Self, Unknown> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word).ok_or(Unknown)
    }
}

/// Somebody with an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub id: i64,
    pub name: String,
    pub email: String,
    pub role: Role,
    pub created_at_ms: i64,
    /// When one of their sessions was used last, to the hour.
    pub seen_at_ms: Option<i64>,
}

/// Who looks at a page, as the page shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    /// The server asks nobody for their name: everybody may do everything.
    pub is_open: bool,
    /// Name and role of whoever has signed in.
    pub signed_in: Option<(String, Role)>,
}

impl Me {
    pub fn is_administrator(&self) -> bool {
        self.is_open || matches!(self.signed_in, Some((_, Role::Administrator)))
    }
}

/// A browser in which somebody has signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSummary {
    pub id: i64,
    /// What the browser calls itself, cut to a length that can be shown.
    pub browser: String,
    pub created_at_ms: i64,
    pub used_at_ms: i64,
    /// The one that asks.
    pub is_this: bool,
}

/// A link by which somebody becomes a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    pub id: i64,
    pub role: Role,
    pub invited_by: String,
    pub created_at_ms: i64,
    pub expires_at_ms: i64,
}

/// A key by which a program asks. The key itself is shown once, when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: i64,
    pub name: String,
    /// Its first letters, by which it is told from others.
    pub hint: String,
    pub scopes: Vec<Scope>,
    /// Whose it is; None: it was made when the server asked nobody for their name.
    pub owner: Option<String>,
    pub created_at_ms: i64,
    /// None: until it is revoked.
    pub expires_at_ms: Option<i64>,
    /// To the minute.
    pub used_at_ms: Option<i64>,
}

/// What a key is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewApiKey {
    pub name: String,
    pub scopes: Vec<Scope>,
    /// None: until it is revoked.
    pub days: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_roles_and_scopes() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
        assert_eq!("root".parse::<Role>(), Err(Unknown));
        assert_eq!(format!("{:?}", Secret("purple tram".to_string())), "…");
        assert!(Role::Viewer < Role::Editor && Role::Editor < Role::Administrator);
    }
}
