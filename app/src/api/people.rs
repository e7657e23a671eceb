//! Server functions for accounts, sessions, members, invitations and keys. Pages send them as plain forms, so that each
//! ends with a page that is loaded anew and knows who looks at it.

#[cfg(feature = "ssr")]
mod asking;

use crate::error::ApiError;
use domain::people::{ApiKey, Invitation, Person, Role, Secret, SessionSummary};
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// What the page of one's own account shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountData {
    /// Empty on a server that asks nobody for their name.
    pub email: String,
    pub name: String,
    /// The last used first.
    pub sessions: Vec<SessionSummary>,
    /// The newest first.
    pub keys: Vec<ApiKey>,
    /// A key that has just been made: it is shown this once.
    pub made: Option<Secret>,
    /// The server's time, by which keys expire.
    pub now_ms: i64,
}

/// What the page of people shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeopleData {
    pub people: Vec<Person>,
    pub invitations: Vec<Invitation>,
    pub keys: Vec<ApiKey>,
    /// The path of a link that has just been made: it is shown this once.
    pub made: Option<Secret>,
    /// Whoever looks.
    pub my_id: Option<i64>,
    pub now_ms: i64,
}

/// `then`: the page that was wanted.
#[server]
pub async fn sign_in(email: String, password: Secret, #[server(default)] then: String) -> Result<(), ApiError> {
    let (address, browser) = (asking::address(), asking::browser());
    let typed = service::people::SignInTry { email: &email, password: &password, address: &address, browser: &browser };
    let session = asking::people().sign_in(&asking::caller(), typed).await?;
    asking::enter(&session, page_of_ours(&then));
    Ok(())
}

#[server]
pub async fn sign_out() -> Result<(), ApiError> {
    asking::people().sign_out(&asking::caller()).await?;
    crate::session_cookie::forget();
    leptos_axum::redirect("/sign-in");
    Ok(())
}

#[server]
pub async fn sign_out_everywhere() -> Result<(), ApiError> {
    asking::people().sign_out_everywhere(&asking::caller()).await?;
    crate::session_cookie::forget();
    leptos_axum::redirect("/sign-in");
    Ok(())
}

/// Whether the link that makes the first administrator opens.
#[server]
pub async fn get_setup(token: String) -> Result<(), ApiError> {
    Ok(asking::people().check_setup(&token).await?)
}

#[server]
pub async fn set_up(token: String, name: String, email: String, password: Secret) -> Result<(), ApiError> {
    let account = service::people::NewAccount { name, email, password, browser: asking::browser() };
    asking::enter(&asking::people().set_up(&token, account).await?, "/people");
    Ok(())
}

/// The name and the address of the person whose password the link sets.
#[server]
pub async fn get_reset(token: String) -> Result<(String, String), ApiError> {
    Ok(asking::people().check_reset(&token).await?)
}

#[server]
pub async fn reset_password(token: String, password: Secret) -> Result<(), ApiError> {
    let session = asking::people().reset_password(&token, &password, &asking::browser()).await?;
    asking::enter(&session, "/account");
    Ok(())
}

#[server]
pub async fn get_invitation(token: String) -> Result<Invitation, ApiError> {
    Ok(asking::people().invitation(&token).await?)
}

#[server]
pub async fn accept_invitation(token: String, name: String, email: String, password: Secret) -> Result<(), ApiError> {
    let account = service::people::NewAccount { name, email, password, browser: asking::browser() };
    asking::enter(&asking::people().accept_invitation(&token, account).await?, "/");
    Ok(())
}

/// `made` is the ticket of a key that has just been made.
#[server]
pub async fn get_account(made: String) -> Result<AccountData, ApiError> {
    let (people, caller) = (asking::people(), asking::caller());
    let is_open = caller.me().is_open;
    Ok(AccountData {
        email: if is_open { String::new() } else { people.own_email(&caller).await? },
        sessions: if is_open { Vec::new() } else { people.sessions(&caller).await? },
        keys: people.keys(&caller).await?,
        made: people.show_once(&caller, &made),
        now_ms: people.now_ms(),
        name: caller.actor.name,
    })
}

#[server]
pub async fn rename_me(name: String) -> Result<(), ApiError> {
    asking::people().rename(&asking::caller(), &name).await?;
    leptos_axum::redirect("/account");
    Ok(())
}

#[server]
pub async fn change_password(old: Secret, new: Secret) -> Result<(), ApiError> {
    asking::people().change_password(&asking::caller(), &old, &new, &asking::address()).await?;
    leptos_axum::redirect("/account?changed=password");
    Ok(())
}

#[server]
pub async fn end_session(id: i64) -> Result<(), ApiError> {
    asking::people().end_session(&asking::caller(), id).await?;
    leptos_axum::redirect("/account#sessions");
    Ok(())
}

/// Empty `days`: until the key is revoked.
#[server]
pub async fn make_key(
    name: String,
    #[server(default)] classify: bool,
    #[server(default)] read: bool,
    #[server(default)] train: bool,
    #[server(default)] days: String,
) -> Result<(), ApiError> {
    use domain::error::UserError;
    use domain::people::{NewApiKey, Scope};
    let chosen = [(classify, Scope::Classify), (read, Scope::Read), (train, Scope::Train)];
    let scopes = chosen.into_iter().filter(|(is_chosen, _)| *is_chosen).map(|(_, scope)| scope).collect();
    let days = match days.trim() {
        "" => None,
        days => Some(days.parse().map_err(|_| UserError::invalid("Days are a whole number, or nothing for no end."))?),
    };
    let (people, caller) = (asking::people(), asking::caller());
    let key = people.make_key(&caller, NewApiKey { name, scopes, days }).await?;
    let ticket = people.keep_to_show(&caller, key)?;
    leptos_axum::redirect(&format!("/account?made={}#keys", ticket.0));
    Ok(())
}

#[server]
pub async fn revoke_key(id: i64) -> Result<(), ApiError> {
    asking::people().revoke_key(&asking::caller(), id).await?;
    leptos_axum::redirect("/account#keys");
    Ok(())
}

/// `made` is the ticket of a link that has just been made.
#[server]
pub async fn get_people(made: String) -> Result<PeopleData, ApiError> {
    let (people, caller) = (asking::people(), asking::caller());
    Ok(PeopleData {
        people: people.list().await?,
        invitations: people.invitations().await?,
        keys: people.all_keys().await?,
        made: people.show_once(&caller, &made),
        my_id: caller.actor.user_id,
        now_ms: people.now_ms(),
    })
}

#[server]
pub async fn invite(role: Role) -> Result<(), ApiError> {
    let (people, caller) = (asking::people(), asking::caller());
    let token = people.invite(&caller, role).await?;
    let ticket = people.keep_to_show(&caller, Secret(format!("/invitations/{}", token.0)))?;
    leptos_axum::redirect(&format!("/people?made={}#made", ticket.0));
    Ok(())
}

#[server]
pub async fn withdraw_invitation(id: i64) -> Result<(), ApiError> {
    asking::people().withdraw_invitation(id).await?;
    leptos_axum::redirect("/people");
    Ok(())
}

#[server]
pub async fn change_role(id: i64, role: Role) -> Result<(), ApiError> {
    asking::people().change_role(id, role).await?;
    leptos_axum::redirect("/people");
    Ok(())
}

#[server]
pub async fn remove_person(id: i64) -> Result<(), ApiError> {
    asking::people().remove(id).await?;
    leptos_axum::redirect("/people");
    Ok(())
}

/// A link by which a person sets a new password.
#[server]
pub async fn make_reset_link(id: i64) -> Result<(), ApiError> {
    let (people, caller) = (asking::people(), asking::caller());
    let token = people.reset_link_of(id).await?;
    let ticket = people.keep_to_show(&caller, Secret(format!("/reset/{}", token.0)))?;
    leptos_axum::redirect(&format!("/people?made={}#made", ticket.0));
    Ok(())
}

#[server]
pub async fn revoke_any_key(id: i64) -> Result<(), ApiError> {
    asking::people().revoke_any_key(id).await?;
    leptos_axum::redirect("/people#keys");
    Ok(())
}

/// The address, if it is one of a page of this server; else the first page. An address with a host of its own, or one
/// that browsers take for such, leads nowhere.
pub fn page_of_ours(address: &str) -> &str {
    let is_ours = address.starts_with('/')
        && !address.starts_with("//")
        && !address.starts_with("/api/")
        && address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_ours { address } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_away() {
        for address in ["/", "/runs/3?rows=wrong#charts", "/a//b"] {
            assert_eq!(page_of_ours(address), address);
        }
        for address in [
            "",
            "https://elsewhere.example",
            "//elsewhere.example",
            "/\\elsewhere.example",
            "/api/x",
            "/a b",
            "/ä",
            "/a\r\nb",
        ] {
            assert_eq!(page_of_ours(address), "/", "{address}");
        }
    }
}
