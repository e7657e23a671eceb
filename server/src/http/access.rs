//! Who asks, and whether they may: every request passes here, and what is not in the table of `domain::people::access` is
//! for administrators alone.

use crate::http::api::ApiRefusal;
use crate::http::demo;
use crate::http::errors::status_of;
use crate::state::AppState;
use app::error::ApiError;
use app::session_cookie::SessionCookie;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use domain::error::{ErrorKind, UserError};
use domain::people::access::{self, Need};
use leptos::prelude::{provide_context, use_context};
use leptos::server_fn::error::{FromServerFnError, SERVER_FN_ERROR_HEADER, ServerFnUrlError};
use leptos::server_fn::http_export::request::Parts;
use service::ServiceError;
use service::people::{CalledBy, Caller, ClientAddress, People, SESSION_LASTS_S};
use std::net::SocketAddr;

/// Whether people have to say who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody who reaches the server may do everything.
    Open,
    SignIn,
}

/// Lets a request through if whoever sends it may, and tells the handlers who that is.
pub async fn require(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let need = access::need(request.method().as_str(), request.uri().path());
    if need == Some(Need::Nothing) {
        return next.run(request).await;
    }
    let (caller, renewed) = match who(&state, request.headers()).await {
        Ok(known) => known,
        Err(error) => return refuse(&request, error),
    };
    if let Some(error) = why_not(need, &caller, &request) {
        return refuse(&request, error);
    }
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| *address);
    if let Some(address) = address {
        request.extensions_mut().insert(ClientAddress(demo::client(address)));
    }
    request.extensions_mut().insert(caller);
    let mut response = next.run(request).await;
    // Who signs in or out has been given another cookie already.
    if let Some(header) = renewed.filter(|_| !response.headers().contains_key(header::SET_COOKIE)) {
        response.headers_mut().append(header::SET_COOKIE, header);
    }
    response
}

/// Hands on to pages and server functions who asks, called while they are set up.
pub fn give_caller() {
    let caller = use_context::<Parts>().and_then(|parts| parts.extensions.get::<Caller>().cloned());
    let caller = caller.unwrap_or_else(Caller::nobody);
    provide_context(caller.actor.clone());
    provide_context(caller.me());
    provide_context(caller);
}

/// Who it is, and the cookie that the browser is to keep for longer. A key counts before a cookie: whoever sends one
/// means it.
async fn who(state: &AppState, headers: &HeaderMap) -> Result<(Caller, Option<HeaderValue>), UserError> {
    let people = &state.service.people;
    if let Some(key) = key_of(headers) {
        let caller = people.by_key(key).await.map_err(told)?;
        let unknown = "This key is unknown, has expired, or was revoked. The page /account shows those that there are.";
        return caller.map(|caller| (caller, None)).ok_or_else(|| UserError::sign_in(unknown));
    }
    if state.access == Access::Open {
        return Ok((Caller::open(), None));
    }
    let Some(cookie) = SessionCookie::of(headers) else { return Ok((Caller::nobody(), None)) };
    Ok(match people.by_session(&cookie.token).await.map_err(told)? {
        Some((caller, is_renewed)) => (caller, if is_renewed { cookie.header(SESSION_LASTS_S) } else { None }),
        None => (Caller::nobody(), None),
    })
}

fn told(error: ServiceError) -> UserError {
    error.into()
}

/// A key of ours; tokens that programs send to everybody, as those of the Hub, are none.
fn key_of(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && People::is_key(key.trim())).then_some(key.trim())
}

fn why_not(need: Option<Need>, caller: &Caller, request: &Request) -> Option<UserError> {
    if need == Some(Need::Anyone) {
        return is_forged(caller, request).then(forged);
    }
    let Some(power) = &caller.power else {
        return Some(UserError::sign_in(
            "Sign in first, or send a key as \"Authorization: Bearer ayar_…\". The page /sign-in is where people sign in.",
        ));
    };
    if !power.allows(need.unwrap_or(Need::Administer)) {
        return Some(match (need, &power.scopes) {
            (None, _) => UserError::not_found("There is nothing here."),
            (Some(need), Some(scopes)) => {
                let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
                let wanted = match need {
                    Need::Classify => "the scope classify",
                    Need::Read => "the scope read",
                    Need::Change => "the scope train, of an editor or administrator",
                    _ => "a person who has signed in",
                };
                let scopes = scopes.join(", ");
                UserError::forbidden(format!(
                    "This needs {wanted}. The key has the scopes {scopes} of a {}.",
                    power.role
                ))
            }
            (Some(need), None) => {
                let wanted = if need == Need::Change { "an editor" } else { "an administrator" };
                let role = power.role;
                UserError::forbidden(format!("This is for {wanted}; you are {role}. An administrator can change that."))
            }
        });
    }
    is_forged(caller, request).then(forged)
}

/// A cookie comes along by itself, whoever's page has made the browser send the request. What changes something must
/// therefore say that it comes from a page of ours; that an `Origin`, where there is one, is ours is checked for all.
fn is_forged(caller: &Caller, request: &Request) -> bool {
    let reads_only = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if reads_only || !matches!(caller.by, CalledBy::Session(_)) {
        return false;
    }
    let says_where = request.headers().contains_key(header::ORIGIN);
    let is_ours = request.headers().get("sec-fetch-site").is_some_and(|site| site == "same-origin");
    !says_where && !is_ours
}

fn forged() -> UserError {
    UserError::forbidden(
        "This request carries a session but does not say that it comes from a page of this server (no Origin, no \
         Sec-Fetch-Site). Programs use a key instead.",
    )
}

/// In the form that whoever asks can read: pages lead to where one signs in, or say it as a page; forms go back to their
/// page with the words; programs get them as JSON.
fn refuse(request: &Request, error: UserError) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let wants_page = header_of(request, header::ACCEPT).is_some_and(|accepts| accepts.contains("text/html"));
    if path.starts_with("/api/") {
        return refuse_function(request, error, wants_page);
    }
    if wants_page && matches!(*method, Method::GET | Method::HEAD) {
        if error.kind == ErrorKind::SignIn {
            let wanted = request.uri().path_and_query().map_or("/", |wanted| wanted.as_str());
            return Redirect::to(&format!("/sign-in?then={}", encode(wanted))).into_response();
        }
        return (status_of(&error), [(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)], Html(page(&error)))
            .into_response();
    }
    let is_unknown = error.kind == ErrorKind::SignIn;
    let mut response = ApiRefusal::from(error).into_response();
    if is_unknown {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"Ayar\""));
    }
    response
}

fn refuse_function(request: &Request, error: UserError, wants_page: bool) -> Response {
    let path = request.uri().path();
    let back = header_of(request, header::REFERER);
    if wants_page && error.kind == ErrorKind::SignIn {
        // The path of the page alone: whatever host the header names, people stay here.
        let page =
            back.and_then(|back| back.split_once("://")).and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
        let page = page.unwrap_or("/");
        return Redirect::to(&format!("/sign-in?then={}", encode(page))).into_response();
    }
    let status = status_of(&error);
    let error = ApiError::from(error);
    if wants_page
        && let Some(back) = back
        && let Ok(back) = ServerFnUrlError::new(path, error.clone()).to_url(back)
    {
        return Redirect::to(back.as_str()).into_response();
    }
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (
            HeaderName::from_static(SERVER_FN_ERROR_HEADER),
            HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/api/")),
        ),
    ];
    (status, headers, error.ser()).into_response()
}

fn header_of(request: &Request, name: HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}

const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'self'";

/// The words are ours and need no escaping but for what they quote of roles and scopes, which are ours, too.
fn page(error: &UserError) -> String {
    let title = ApiError::from(error.clone()).title();
    include_str!("access/refused.html").replace("{{title}}", title).replace("{{words}}", &error.message)
}

/// As a value of a query: all but what may stand there for itself.
fn encode(words: &str) -> String {
    let mut encoded = String::with_capacity(words.len());
    for byte in words.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(char::from(byte))
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
