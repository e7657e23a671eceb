//! What a run's events add up to: exactly, for files and comparisons; and thinned, for the page about it.
//!
//! The thinned picture is kept beside the events, up to one of them; what came after is read and added. So a page about a
//! run of a hundred thousand steps reads a few hundred events. The kept picture is a shortcut: where it is missing, or
//! written by another version, it is made again.

use super::Runs;
use crate::db::to_json;
use crate::error::Result;
use crate::feed::BATCH;
use domain::run::{RunId, RunPicture};
use sqlx::Row as _;

/// Events after the kept picture that are added anew at every look, before a newer one is kept.
const MOST_ADDED: i64 = 500;

impl Runs {
    /// All steps.
    pub async fn picture(&self, id: RunId) -> Result<RunPicture> {
        self.row(id).await?;
        Ok(RunPicture::from_events(&self.feed.history(id).await?))
    }

    /// With at most [`domain::thinning::MOST_STEPS`] steps: the first, the newest, and those that stand out; and all that is no
    /// step.
    pub async fn thinned_picture(&self, id: RunId) -> Result<RunPicture> {
        self.row(id).await?;
        let mut picture = self.kept_picture(id).await?;
        let kept = picture.last_seq;
        loop {
            let events = self.feed.read(id, picture.last_seq).await?;
            events.iter().for_each(|event| picture.apply(event));
            picture.thin();
            if events.len() < BATCH {
                break;
            }
        }
        if picture.last_seq - kept > MOST_ADDED {
            self.keep_picture(id, &picture).await?;
        }
        Ok(picture)
    }

    async fn kept_picture(&self, id: RunId) -> Result<RunPicture> {
        let row = sqlx::query("SELECT picture FROM run_pictures WHERE run_id = $1")
            .bind(id)
            .fetch_optional(&self.db.pool)
            .await?;
        let Some(row) = row else { return Ok(RunPicture::default()) };
        Ok(serde_json::from_str(row.try_get("picture")?).unwrap_or_default())
    }

    async fn keep_picture(&self, id: RunId, picture: &RunPicture) -> Result<()> {
        // Of two who look at once, the later picture stays.
        sqlx::query(
            "INSERT INTO run_pictures (run_id, last_seq, picture) VALUES ($1, $2, $3) ON CONFLICT (run_id) DO UPDATE \
             SET last_seq = excluded.last_seq, picture = excluded.picture WHERE run_pictures.last_seq <= excluded.last_seq",
        )
        .bind(id)
        .bind(picture.last_seq)
        .bind(to_json(picture)?)
        .execute(&self.db.pool)
        .await?;
        Ok(())
    }
}
