use crate::api::models::{ForgetToken, SetToken};
use crate::components::{Button, ErrorNotice, Field, Notice, Pill, Tone};
use crate::error::ApiError;
use domain::catalogue::{HubAccount, TokenSource};
use leptos::html::Input;
use leptos::prelude::*;

/// Whose account the Hub is asked with, and the field for another one's token. What was typed is not shown again.
#[component]
pub fn AccountCard(account: RwSignal<HubAccount>) -> impl IntoView {
    let set = ServerAction::<SetToken>::new();
    let forget = ServerAction::<ForgetToken>::new();
    let field = NodeRef::<Input>::new();
    let take_over = move |answer: Option<Result<HubAccount, ApiError>>| {
        if let Some(Ok(fresh)) = answer {
            account.set(fresh);
            if let Some(field) = field.get_untracked() {
                field.set_value("");
            }
        }
    };
    Effect::new(move |_| take_over(set.value().get()));
    Effect::new(move |_| take_over(forget.value().get()));
    let refused = move || {
        let error = |result: Option<Result<HubAccount, ApiError>>| result.and_then(Result::err);
        error(set.value().get()).or_else(|| error(forget.value().get()))
    };
    let typed = move || account.read().token == TokenSource::Typed;
    view! {
        <section class="card" id="account" aria-labelledby="account-title">
            <header class="card-head">
                <h2 id="account-title">"Hub account"</h2>
                {move || account.read().offline.then(|| view! { <Pill tone=Tone::Warning>"offline"</Pill> })}
            </header>
            <div class="stack">
                <div role="status" class="stack">
                    {move || view! { <Standing account=account.get() /> }}
                </div>
                {move || refused().map(|error| view! { <ErrorNotice error /> })}
                <ActionForm action=set attr:class="stack" attr:autocomplete="off">
                    <Field label="Access token" id="hub-token" help="Begins with hf_. It stays on the server and is not shown again.">
                        <input
                            node_ref=field
                            class="input"
                            type="password"
                            id="hub-token"
                            name="token"
                            autocomplete="off"
                            spellcheck="false"
                            required
                            maxlength="500"
                            aria-describedby="hub-token-help"
                        />
                    </Field>
                    <div class="row">
                        <Button type_="submit" pending=set.pending()>
                            "Use this token"
                        </Button>
                    </div>
                </ActionForm>
                <Show when=typed>
                    <ActionForm action=forget>
                        <Button type_="submit" pending=forget.pending()>
                            "Forget the token"
                        </Button>
                    </ActionForm>
                </Show>
            </div>
        </section>
    }
    .into_any()
}

/// Who it is, where the token comes from, and which Hub that is said of.
#[component]
fn Standing(account: HubAccount) -> impl IntoView {
    let HubAccount { endpoint, offline, token, user } = account;
    let origin = match token {
        TokenSource::None => None,
        TokenSource::Environment => Some("The token comes from the server's environment."),
        TokenSource::Typed => Some("The token was typed here."),
    };
    let who = match (user, token) {
        (Some(user), _) => view! { <p>"Signed in as " <strong>{user}</strong> "."</p> }.into_any(),
        (None, TokenSource::None) => view! {
            <p>"Not signed in: open models can be fetched, private ones and those with a licence to accept cannot."</p>
        }
        .into_any(),
        (None, _) if offline => view! { <p>"There is a token; whose it is has not been asked."</p> }.into_any(),
        (None, _) => view! {
            <Notice tone=Tone::Warning>
                <p>"There is a token, but the Hub does not know it, or could not be reached."</p>
            </Notice>
        }
        .into_any(),
    };
    view! {
        {who}
        {origin.map(|origin| view! { <p class="small soft">{origin}</p> })}
        <p class="small soft account-endpoint">
            {if offline {
                "Offline mode: only what the cache holds is used. The Hub would be "
            } else {
                "The Hub: "
            }}
            <span class="mono">{endpoint}</span>
        </p>
    }
    .into_any()
}
