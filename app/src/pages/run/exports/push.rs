use crate::api::exports::PushExport;
use crate::components::{Button, Field, Notice, ProgressBar, Tone};
use crate::format;
use domain::catalogue::{ExportId, HubAccount, Push, PushState, TokenSource};
use domain::run::RunId;
use leptos::prelude::*;

/// Who would push, as far as that can be told.
#[derive(Clone, Debug)]
pub enum Pusher {
    /// The account's name, where the Hub knows it.
    Account(Option<String>),
    /// There is no token, so nothing can be pushed.
    Nobody,
    Offline,
}

impl Pusher {
    pub fn of(account: &HubAccount) -> Self {
        match account {
            HubAccount { offline: true, .. } => Self::Offline,
            HubAccount { token: TokenSource::None, .. } => Self::Nobody,
            HubAccount { user, .. } => Self::Account(user.clone()),
        }
    }
}

/// The form that sends an export to the Hub, folded away. While it is under way there is none.
#[component]
pub fn PushForm(
    run: RunId,
    id: ExportId,
    push: Memo<Option<Push>>,
    pusher: Pusher,
    action: ServerAction<PushExport>,
) -> impl IntoView {
    let user = match pusher {
        Pusher::Offline => {
            return view! { <p class="small soft">"The server works offline, so nothing can be pushed to the Hub."</p> }
                .into_any();
        }
        Pusher::Nobody => {
            return view! {
                <p class="small soft">
                    "To push it to the Hub, "
                    <a href="/models#account" rel="external">
                        "sign in with a token that may write"
                    </a> "."
                </p>
            }
            .into_any();
        }
        Pusher::Account(user) => user,
    };
    let under_way = Memo::new(move |_| {
        let push = push.read();
        push.as_ref().is_some_and(|push| matches!(push.state, PushState::Waiting | PushState::Pushing { .. }))
    });
    let sending = Signal::derive(move || action.input().read().as_ref().is_some_and(|asked| asked.id == id));
    // What was asked for before, or the account's name to begin with.
    let first = push.get_untracked().map(|push| push.repo).or_else(|| user.map(|user| format!("{user}/")));
    let field = format!("push-repo-{id}");
    view! {
        <details class="fold" hidden=under_way>
            <summary class="fold-summary">"Push to the Hub"</summary>
            <ActionForm action attr:class="stack fold-body push-form">
                <input type="hidden" name="run" value=run.to_string() />
                <input type="hidden" name="id" value=id.to_string() />
                <Field label="Repository" id=field.clone() help="owner/name. It is made if it is not there; all files go up as one commit.">
                    <input
                        class="input"
                        id=field.clone()
                        name="repo"
                        required
                        maxlength="200"
                        autocomplete="off"
                        autocapitalize="off"
                        spellcheck="false"
                        placeholder="owner/name"
                        aria-describedby=format!("{field}-help")
                        value=first.unwrap_or_default()
                    />
                </Field>
                <label class="check">
                    <input type="checkbox" name="private" value="true" checked />
                    <span>"Private: only the account and whom it lets in can see it"</span>
                </label>
                <div class="row">
                    <Button type_="submit" pending=sending>
                        "Push"
                    </Button>
                </div>
            </ActionForm>
        </details>
    }
    .into_any()
}

/// How far a push is, or how it ended.
#[component]
pub fn PushStanding(push: Push) -> impl IntoView {
    let Push { repo, private, state } = push;
    let seen_by = if private { "private" } else { "public" };
    match state {
        PushState::Waiting => {
            view! { <p class="small" role="status">{format!("Will be pushed to {repo} ({seen_by}).")}</p> }.into_any()
        }
        PushState::Pushing { files } => {
            let (done, all) = files.iter().fold((0, 0), |(done, all), file| (done + file.done_bytes, all + file.bytes));
            let share = (all > 0).then(|| done as f64 / all as f64);
            view! {
                <ProgressBar value=Signal::stored(share) label=Signal::stored(format!("Push to {repo}")) />
                <p class="small number">
                    {format!(
                        "Pushing to {repo} ({seen_by}): {} of {}.",
                        format::bytes(done as f64),
                        format::bytes(all as f64),
                    )}
                </p>
            }
            .into_any()
        }
        PushState::Done { url } => {
            let place = match format::web_address(&url) {
                Some(href) => view! {
                    <a href=href rel="external noopener" target="_blank">
                        {repo}
                    </a>
                }
                .into_any(),
                None => repo.into_any(),
            };
            view! {
                <Notice tone=Tone::Good>
                    <p>"Pushed to " {place} {format!(" ({seen_by}).")}</p>
                </Notice>
            }
            .into_any()
        }
        PushState::Failed { reason } => view! {
            <Notice tone=Tone::Bad title="The push failed">
                <p>{reason}</p>
                <p>"Nothing has changed on the Hub. Pushed again, what it has already is not sent twice."</p>
            </Notice>
        }
        .into_any(),
    }
}
