//! `ayar people`: what is done for accounts from the server's own machine, also while the server runs.

use crate::arguments::DatabaseArgument;
use anyhow::Context;
use clap::{Args, Subcommand};
use service::People;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Args)]
pub struct PeopleArguments {
    #[command(subcommand)]
    command: PeopleCommand,
}

#[derive(Subcommand)]
enum PeopleCommand {
    /// Print a link, good for a day and for one time, by which somebody sets a new password
    ResetLink(ResetLinkArguments),
}

#[derive(Args)]
struct ResetLinkArguments {
    /// Address that the person signs in with
    #[arg(long, value_name = "EMAIL")]
    email: String,
    /// Folder of the server's data
    #[arg(long, env = "AYAR_DATA_DIR", default_value = "data/local")]
    data_dir: PathBuf,
    #[command(flatten)]
    database: DatabaseArgument,
    /// Address of the server, for the link
    #[arg(long, env = "AYAR_ADDR", default_value = "127.0.0.1:3000")]
    addr: SocketAddr,
}

pub fn people(arguments: PeopleArguments) -> anyhow::Result<()> {
    let PeopleCommand::ResetLink(arguments) = arguments.command;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("No threads to be had")?;
    runtime.block_on(async {
        let people = People::open_beside(&arguments.data_dir, arguments.database.database_url.as_deref()).await?;
        let token = people.reset_link(&arguments.email).await?;
        println!("http://{}/reset/{}", arguments.addr, token.0);
        Ok(())
    })
}
