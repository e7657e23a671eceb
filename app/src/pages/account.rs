use crate::api::people::{
    AccountData, ChangePassword, EndSession, MakeKey, RenameMe, RevokeKey, SignOutEverywhere, get_account,
};
use crate::components::{
    Button, Card, ErrorNotice, Field, KeyTable, Loading, MadeOnce, Notice, PageHeader, PasswordField, TableScroll,
    TimeStamp, Tone,
};
use crate::refused::{refusal, refused};
use domain::people::{MAX_KEY_DAYS, Me, Scope, SessionSummary};
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_router::hooks::use_query_map;

/// What is one's own: name, password, browsers that are signed in, keys of programs.
#[component]
pub fn AccountPage() -> impl IntoView {
    let (made, changed) = use_query_map().with_untracked(|query| {
        (query.get("made").unwrap_or_default(), query.get("changed").is_some_and(|what| what == "password"))
    });
    let data = Resource::new_blocking(|| (), move |()| get_account(made.clone()));
    let is_open = use_context::<Me>().unwrap_or_default().is_open;
    let failed_at_account =
        StoredValue::new([refusal::<RenameMe>(), refusal::<ChangePassword>(), refusal::<EndSession>()]);
    let failed_at_keys = StoredValue::new([refusal::<MakeKey>(), refusal::<RevokeKey>()]);
    view! {
        <PageHeader title="Account" />
        <Suspense fallback=|| view! { <Loading what="the account" /> }>
            {move || Suspend::new(async move {
                match data.await {
                    Err(error) => view! { <ErrorNotice error /> }.into_any(),
                    Ok(data) => {
                        let AccountData { email, name, sessions, keys, made, now_ms } = data;
                        let own = match is_open {
                            true => view! {
                                <Notice tone=Tone::Info>
                                    <p>
                                        "This server is open: nobody has to sign in, and keys belong to nobody. "
                                        <a href="/people">"How to turn sign-in on"</a>
                                    </p>
                                </Notice>
                            }
                            .into_any(),
                            false => view! {
                                {changed
                                    .then(|| {
                                        view! {
                                            <Notice tone=Tone::Good>
                                                <p>"The password was changed. All other browsers are signed out."</p>
                                            </Notice>
                                        }
                                    })}
                                {refused(failed_at_account.get_value())}
                                <OwnForms name email />
                                <Sessions sessions />
                            }
                            .into_any(),
                        };
                        view! {
                            <div class="stack-loose">
                                {own}
                                <section id="keys">
                                    <Card
                                        title="Keys for programs"
                                        note="A program sends one as “Authorization: Bearer ayar_…”. It may do what its scopes say, and no more than you."
                                    >
                                        {made
                                            .map(|made| {
                                                view! {
                                                    <MadeOnce
                                                        title="The new key"
                                                        made
                                                        help="Copy it now: it is not shown again."
                                                    />
                                                }
                                            })}
                                        {refused(failed_at_keys.get_value())}
                                        <KeyTable keys now_ms revoke=RevokeKey::url() is_of_all=false />
                                        <NewKey />
                                    </Card>
                                </section>
                            </div>
                        }
                        .into_any()
                    }
                }
            })}
        </Suspense>
    }
    .into_any()
}

#[component]
fn OwnForms(name: String, email: String) -> impl IntoView {
    view! {
        <div class="grid-2">
            <Card title="Name" note=email.clone()>
                <form method="post" action=RenameMe::url() class="stack">
                    <Field label="Your name" id="my-name">
                        <input class="input" id="my-name" name="name" required maxlength="60" autocomplete="name" value=name />
                    </Field>
                    <div class="row">
                        <Button type_="submit">"Save the name"</Button>
                    </div>
                </form>
            </Card>
            <Card title="Password">
                <form method="post" action=ChangePassword::url() class="stack">
                    // For managers of passwords.
                    <input type="hidden" name="username" autocomplete="username" value=email />
                    <PasswordField id="old-password" name="old" label="Present password" />
                    <PasswordField id="new-password" name="new" label="New password" is_new=true />
                    <div class="row">
                        <Button type_="submit">"Change the password"</Button>
                    </div>
                </form>
            </Card>
        </div>
    }
    .into_any()
}

#[component]
fn Sessions(sessions: Vec<SessionSummary>) -> impl IntoView {
    let rows = sessions
        .into_iter()
        .map(|session| {
            let end = match session.is_this {
                true => view! { <span class="small soft">"this browser"</span> }.into_any(),
                false => view! {
                    <form method="post" action=EndSession::url()>
                        <input type="hidden" name="id" value=session.id.to_string() />
                        <button type="submit" class="button button-quiet">
                            "Sign it out"
                        </button>
                    </form>
                }
                .into_any(),
            };
            view! {
                <tr>
                    <th scope="row" class="main text">
                        {if session.browser.is_empty() { "A program".to_string() } else { session.browser }}
                    </th>
                    <td class="soft" data-name="Since">
                        <TimeStamp at_ms=session.created_at_ms />
                    </td>
                    <td class="soft" data-name="Last used">
                        <TimeStamp at_ms=session.used_at_ms />
                    </td>
                    <td>{end}</td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <section id="sessions">
            <Card title="Signed in" note="A browser is signed out after a month without use.">
                <TableScroll label="Browsers that are signed in">
                    <table class="table table-restack">
                        <thead>
                            <tr>
                                <th scope="col">"Browser"</th>
                                <th scope="col">"Since"</th>
                                <th scope="col">"Last used"</th>
                                <th scope="col">
                                    <span class="visually-hidden">"Sign out"</span>
                                </th>
                            </tr>
                        </thead>
                        <tbody>{rows}</tbody>
                    </table>
                </TableScroll>
                <form method="post" action=SignOutEverywhere::url()>
                    <Button type_="submit">"Sign out everywhere"</Button>
                </form>
            </Card>
        </section>
    }
    .into_any()
}

#[component]
fn NewKey() -> impl IntoView {
    let scopes = Scope::ALL
        .into_iter()
        .map(|scope| {
            view! {
                <label class="check">
                    <input type="checkbox" name=scope.as_str() value="true" checked=scope == Scope::Classify />
                    <span>{scope.as_str()} ": " <span class="soft">{scope.help()}</span></span>
                </label>
            }
        })
        .collect_view();
    view! {
        <form method="post" action=MakeKey::url() class="stack" aria-label="New key">
            <div class="key-form">
                <Field label="Name of the key" id="key-name" help="What it is for, such as the program's name.">
                    <input
                        class="input"
                        id="key-name"
                        name="name"
                        required
                        maxlength="60"
                        autocomplete="off"
                        aria-describedby="key-name-help"
                    />
                </Field>
                <Field label="Days" id="key-days" help="Empty: until it is revoked.">
                    <input
                        class="input"
                        type="number"
                        id="key-days"
                        name="days"
                        min="1"
                        max=MAX_KEY_DAYS.to_string()
                        value="90"
                        aria-describedby="key-days-help"
                    />
                </Field>
            </div>
            <fieldset class="scopes">
                <legend class="field-label">"It may"</legend>
                {scopes}
            </fieldset>
            <div class="row">
                <Button type_="submit">"Make a key"</Button>
            </div>
        </form>
    }
    .into_any()
}
