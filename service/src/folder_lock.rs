//! Who uses the data folder. With SQLite it is one process; with PostgreSQL it may be several, which share it.

use crate::db::DatabaseKind;
use crate::error::{Result, ServiceError};
use crate::files::Files;
use domain::error::UserError;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long another server may take to start before this one gives up.
const WAIT: Duration = Duration::from_secs(60);
const TRY_EVERY: Duration = Duration::from_millis(50);

/// Held as long as it lives.
pub(crate) struct FolderLock {
    file: File,
    path: PathBuf,
    is_alone: bool,
}

impl FolderLock {
    /// Alone if that is possible: then what a dead process has left can be swept away.
    ///
    /// # Errors
    /// Another process uses the folder, and it cannot be shared.
    pub async fn take(files: &Files, kind: DatabaseKind) -> Result<Self> {
        let path = files.lock();
        let file = File::create(&path).map_err(|error| ServiceError::io(&path, error))?;
        let since = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { file, path, is_alone: true }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(ServiceError::io(&path, error)),
            }
            if kind == DatabaseKind::Postgres {
                match file.try_lock_shared() {
                    Ok(()) => return Ok(Self { file, path, is_alone: false }),
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(ServiceError::io(&path, error)),
                }
            }
            if kind == DatabaseKind::Sqlite || since.elapsed() > WAIT {
                return Err(UserError::conflict(format!(
                    "The data folder {} is in use by another Ayar. Stop that one, or choose another folder.",
                    files.root().display()
                ))
                .into());
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    pub fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// After the start: lets others in that use the same database.
    pub fn share(&self, kind: DatabaseKind) -> Result<()> {
        if kind == DatabaseKind::Sqlite || !self.is_alone {
            return Ok(());
        }
        self.file.lock_shared().map_err(|error| ServiceError::io(&self.path, error))
    }
}
