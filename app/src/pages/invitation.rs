use crate::api::people::{AcceptInvitation, get_invitation};
use crate::components::{Button, ButtonKind, Card, ErrorNotice, Loading, NewAccountFields, PageHeader};
use crate::refused::{refusal, refused};
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_router::hooks::use_params_map;

/// Makes a member of whoever has the link.
#[component]
pub fn InvitationPage() -> impl IntoView {
    let token = use_params_map().with_untracked(|params| params.get("token").unwrap_or_default());
    let asked = token.clone();
    let data = Resource::new_blocking(|| (), move |()| get_invitation(asked.clone()));
    let failed = StoredValue::new(refusal::<AcceptInvitation>());
    let token = StoredValue::new(token);
    view! {
        <PageHeader title="Join the team" />
        <div class="narrow">
            <Suspense fallback=|| view! { <Loading what="the invitation" /> }>
                {move || Suspend::new(async move {
                    match data.await {
                        Err(error) => view! { <ErrorNotice error /> }.into_any(),
                        Ok(invitation) => {
                            let role = invitation.role;
                            let note = format!("{} invites you as {role}: {}.", invitation.invited_by, role.help());
                            view! {
                                <Card title="Your account" note>
                                    <form method="post" action=AcceptInvitation::url() class="stack">
                                        {refused([failed.get_value()])}
                                        <input type="hidden" name="token" value=token.get_value() />
                                        <NewAccountFields />
                                        <div class="row">
                                            <Button type_="submit" kind=ButtonKind::Primary>
                                                "Join"
                                            </Button>
                                        </div>
                                    </form>
                                </Card>
                            }
                            .into_any()
                        }
                    }
                })}
            </Suspense>
        </div>
    }
    .into_any()
}
