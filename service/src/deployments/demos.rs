//! Links to demos: making, listing and revoking them, and answering those who have one.

use super::rate::Rate;
use super::{Deployments, Served};
use crate::db::{json_column, to_json};
use crate::error::{Result, ServiceError};
use domain::deployment::demo::{Brand, Demo};
use domain::error::UserError;
use sqlx::Row;
use sqlx::any::AnyRow;
use std::time::Instant;

/// Of everybody together who has a link.
const OF_LINK: Rate = Rate { at_once: 60, per_minute: 240 };
/// Of one address.
const OF_CLIENT: Rate = Rate { at_once: 10, per_minute: 30 };
/// Longest text on a demo, in bytes.
pub const LONGEST_DEMO_TEXT: usize = 2000;
/// Links of a deployment that are open at the same time.
const MOST_OPEN: usize = 50;
/// The longest that a link is made for.
const LONGEST_DAYS: u32 = 3650;

impl Deployments {
    /// # Errors
    /// No such deployment, too many links, or days that are none.
    pub async fn create_demo(&self, deployment: &str, brand: Brand, days: Option<u32>) -> Result<Demo> {
        self.row(deployment).await?;
        if days.is_some_and(|days| !(1..=LONGEST_DAYS).contains(&days)) {
            return Err(
                UserError::invalid(format!("A link lasts 1 to {LONGEST_DAYS} days, or until it is revoked.")).into()
            );
        }
        let now = (self.clock)();
        let open = self.demos(deployment).await?.iter().filter(|demo| demo.is_open_at(now)).count();
        if open >= MOST_OPEN {
            return Err(UserError::conflict(format!("{MOST_OPEN} links are open already. Revoke one first.")).into());
        }
        let demo = Demo {
            token: new_token()?,
            deployment: deployment.to_string(),
            brand,
            created_at_ms: now,
            expires_at_ms: days.map(|days| now + i64::from(days) * 24 * 60 * 60 * 1000),
            revoked_at_ms: None,
        };
        sqlx::query(
            "INSERT INTO demos (token, deployment, brand, created_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&demo.token)
        .bind(deployment)
        .bind(to_json(&demo.brand)?)
        .bind(now)
        .bind(demo.expires_at_ms)
        .execute(&self.db.pool)
        .await?;
        Ok(demo)
    }

    /// The links of a deployment, the newest first.
    pub async fn demos(&self, deployment: &str) -> Result<Vec<Demo>> {
        let rows = sqlx::query("SELECT * FROM demos WHERE deployment = $1 ORDER BY created_at_ms DESC, token")
            .bind(deployment)
            .fetch_all(&self.db.pool)
            .await?;
        rows.iter().map(demo_from).collect()
    }

    /// From now on the link opens nothing.
    pub async fn revoke_demo(&self, token: &str) -> Result<()> {
        let revoked = sqlx::query("UPDATE demos SET revoked_at_ms = $2 WHERE token = $1 AND revoked_at_ms IS NULL")
            .bind(token)
            .bind((self.clock)())
            .execute(&self.db.pool)
            .await?;
        if revoked.rows_affected() == 0 {
            return Err(closed());
        }
        Ok(())
    }

    /// # Errors
    /// There is no such link, or no more.
    pub async fn demo(&self, token: &str) -> Result<Demo> {
        let row = sqlx::query("SELECT * FROM demos WHERE token = $1").bind(token).fetch_optional(&self.db.pool).await?;
        let demo = row.as_ref().map(demo_from).transpose()?;
        demo.filter(|demo| demo.is_open_at((self.clock)())).ok_or_else(closed)
    }

    /// What the deployment of a link says of one text; `client` is the address of whoever asks.
    ///
    /// # Errors
    /// As [`Deployments::classify`]; the link is closed, or somebody asks too often.
    pub async fn classify_demo(&self, token: &str, client: &str, text: String) -> Result<Served> {
        // Ahead of the database, so that guessing tokens costs little.
        self.rates.count(&format!("client {client}"), OF_CLIENT, Instant::now())?;
        let demo = self.demo(token).await?;
        if text.len() > LONGEST_DEMO_TEXT {
            return Err(UserError::invalid(format!(
                "The text is {} bytes long; here at most {LONGEST_DEMO_TEXT} are accepted. Shorten it.",
                text.len()
            ))
            .into());
        }
        self.rates.count(&format!("link {token}"), OF_LINK, Instant::now())?;
        self.classify(&demo.deployment, vec![text]).await
    }
}

fn demo_from(row: &AnyRow) -> Result<Demo> {
    Ok(Demo {
        token: row.try_get("token")?,
        deployment: row.try_get("deployment")?,
        brand: json_column(row, "brand")?,
        created_at_ms: row.try_get("created_at_ms")?,
        expires_at_ms: row.try_get("expires_at_ms")?,
        revoked_at_ms: row.try_get("revoked_at_ms")?,
    })
}

/// 128 random bits of the system's, in hexadecimal digits.
fn new_token() -> Result<String> {
    let mut bytes = [0_u8; 16];
    let drawn = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    match drawn {
        Ok(16) => Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        Ok(_) => Err(ServiceError::Panicked("the system gave too few random numbers".to_string())),
        Err(error) => Err(ServiceError::io("random numbers".as_ref(), error.into())),
    }
}

fn closed() -> ServiceError {
    UserError::not_found("This link is not open: it never was, has expired, or was revoked.").into()
}
