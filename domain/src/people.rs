//! Who does something.

use serde::{Deserialize, Serialize};

/// Somebody who acts, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// None: somebody on this machine, without an account; or the program itself.
    pub user_id: Option<i64>,
    pub name: String,
}
