use crate::api::people::{SignIn, page_of_ours};
use crate::components::{Button, ButtonKind, Card, Field, Notice, PageHeader, PasswordField, Tone};
use crate::refused::{refusal, refused};
use domain::people::Me;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_router::hooks::use_query_map;

/// Address and password; leads to the page that was wanted.
#[component]
pub fn SignInPage() -> impl IntoView {
    let then = use_query_map().with_untracked(|query| query.get("then").unwrap_or_default());
    let then = page_of_ours(&then).to_string();
    let is_open = use_context::<Me>().unwrap_or_default().is_open;
    view! {
        <PageHeader title="Sign in" />
        <div class="narrow stack">
            {is_open
                .then(|| {
                    view! {
                        <Notice tone=Tone::Info>
                            <p>"This server is open: everybody who reaches it may do everything, and nobody has to sign in."</p>
                        </Notice>
                    }
                })}
            <Card>
                <form method="post" action=SignIn::url() class="stack">
                    {refused([refusal::<SignIn>()])}
                    <input type="hidden" name="then" value=then />
                    <Field label="Email" id="sign-in-email">
                        <input
                            class="input"
                            type="email"
                            id="sign-in-email"
                            name="email"
                            required
                            maxlength="254"
                            autocomplete="username"
                        />
                    </Field>
                    <PasswordField id="sign-in-password" name="password" label="Password" />
                    <div class="row">
                        <Button type_="submit" kind=ButtonKind::Primary>
                            "Sign in"
                        </Button>
                    </div>
                </form>
            </Card>
            <p class="small soft">
                "No account? An administrator can invite you. Password lost? An administrator can make a link for a new one; who runs the server can, too: "
                <code>"ayar people reset-link"</code> "."
            </p>
        </div>
    }
    .into_any()
}
