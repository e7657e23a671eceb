use crate::api::people::{ResetPassword, get_reset};
use crate::components::{Button, ButtonKind, Card, ErrorNotice, Loading, PageHeader, PasswordField};
use crate::refused::{refusal, refused};
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_router::hooks::use_params_map;

/// Sets a new password in place of a lost one, by a link.
#[component]
pub fn ResetPage() -> impl IntoView {
    let token = use_params_map().with_untracked(|params| params.get("token").unwrap_or_default());
    let asked = token.clone();
    let data = Resource::new_blocking(|| (), move |()| get_reset(asked.clone()));
    let failed = StoredValue::new(refusal::<ResetPassword>());
    let token = StoredValue::new(token);
    view! {
        <PageHeader title="A new password" />
        <div class="narrow">
            <Suspense fallback=|| view! { <Loading what="the link" /> }>
                {move || Suspend::new(async move {
                    match data.await {
                        Err(error) => view! { <ErrorNotice error /> }.into_any(),
                        Ok((name, email)) => view! {
                            <Card title=name note=email.clone()>
                                <form method="post" action=ResetPassword::url() class="stack">
                                    {refused([failed.get_value()])}
                                    <input type="hidden" name="token" value=token.get_value() />
                                    // For managers of passwords.
                                    <input type="hidden" name="username" autocomplete="username" value=email />
                                    <PasswordField id="reset-password" name="password" label="New password" is_new=true />
                                    <div class="row">
                                        <Button type_="submit" kind=ButtonKind::Primary>
                                            "Set the password"
                                        </Button>
                                    </div>
                                </form>
                            </Card>
                        }
                        .into_any(),
                    }
                })}
            </Suspense>
        </div>
    }
    .into_any()
}
