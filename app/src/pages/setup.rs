use crate::api::people::{SetUp, get_setup};
use crate::components::{Button, ButtonKind, Card, ErrorNotice, Loading, NewAccountFields, PageHeader};
use crate::refused::{refusal, refused};
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_router::hooks::use_params_map;

/// Makes the first administrator of a server, by the link that it prints.
#[component]
pub fn SetupPage() -> impl IntoView {
    let token = use_params_map().with_untracked(|params| params.get("token").unwrap_or_default());
    let asked = token.clone();
    let data = Resource::new_blocking(|| (), move |()| get_setup(asked.clone()));
    let failed = StoredValue::new(refusal::<SetUp>());
    let token = StoredValue::new(token);
    view! {
        <PageHeader
            title="The first administrator"
            subtitle=Some("This account decides who else may use this server.".to_string())
        />
        <div class="narrow">
            <Suspense fallback=|| view! { <Loading what="the link" /> }>
                {move || Suspend::new(async move {
                    match data.await {
                        Err(error) => view! { <ErrorNotice error /> }.into_any(),
                        Ok(()) => view! {
                            <Card>
                                <form method="post" action=SetUp::url() class="stack">
                                    {refused([failed.get_value()])}
                                    <input type="hidden" name="token" value=token.get_value() />
                                    <NewAccountFields />
                                    <div class="row">
                                        <Button type_="submit" kind=ButtonKind::Primary>
                                            "Make the account"
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
