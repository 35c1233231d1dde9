//! A request as the handlers see it, and what they answer.

use bytes::Bytes;
use serde_json::{Value, json};

use super::auth::Token;

pub(super) type Answer = Result<Reply, Reply>;

/// A request whose token is known.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub method: String,
    /// Without `/api/v3`.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub body: Option<Value>,
    pub token: Option<Token>,
    pub accept: String,
    /// Where the API is, as the client reached it.
    pub base: String,
    /// Where artifacts are: another origin.
    pub blobs: String,
}

impl Call {
    pub fn query(&self, name: &str) -> Option<&str> {
        let pair = self.query.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// A field of the body, null when absent.
    pub fn field(&self, name: &str) -> &Value {
        static NULL: Value = Value::Null;
        self.body
            .as_ref()
            .and_then(|b| b.get(name))
            .unwrap_or(&NULL)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.field(name).as_str()
    }

    pub fn login(&self) -> &str {
        self.token.as_ref().map_or("", |token| &token.login)
    }

    /// `page` and `per_page` of a listing.
    fn page(&self) -> (usize, usize) {
        let number = |name| self.query(name).and_then(|v| v.parse::<usize>().ok());
        let size = number("per_page").filter(|n| *n > 0).unwrap_or(30).min(100);
        (number("page").unwrap_or(1).max(1), size)
    }
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    None,
    Json(Value),
    Bytes(Bytes),
}

#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

impl Reply {
    pub fn new(status: u16, body: Body) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
        }
    }

    pub fn json(status: u16, body: Value) -> Self {
        Self::new(status, Body::Json(body))
    }

    pub fn ok(body: Value) -> Self {
        Self::json(200, body)
    }

    pub fn failure(status: u16, message: &str) -> Self {
        let docs = "https://docs.github.com/rest";
        let body =
            json!({"message": message, "documentation_url": docs, "status": status.to_string()});
        Self::json(status, body)
    }

    pub fn missing() -> Self {
        Self::failure(404, "Not Found")
    }

    /// A 422 about one field.
    pub fn invalid(resource: &str, field: &str, code: &str, message: Option<&str>) -> Self {
        let mut error = json!({"resource": resource, "field": field, "code": code});
        if let Some(message) = message {
            error["message"] = message.into();
        }
        let mut reply = Self::failure(422, "Validation Failed");
        if let Body::Json(body) = &mut reply.body {
            body["errors"] = json!([error]);
        }
        reply
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// One page of a listing, with the `Link` header that GitHub sends: its links go by the
    /// repository's id.
    pub fn list(call: &Call, repo_id: u64, wrap: Option<&str>, items: &[Value]) -> Self {
        let (page, size) = call.page();
        let from = (page - 1).saturating_mul(size).min(items.len());
        let slice = &items[from..items.len().min(from + size)];
        let body = match wrap {
            Some(name) => json!({"total_count": items.len(), name: slice}),
            None => slice.into(),
        };
        Self::ok(body).linked(call, repo_id, items.len())
    }

    /// The same page with the `Link` header of `total` items.
    pub fn linked(self, call: &Call, repo_id: u64, total: usize) -> Self {
        let (page, size) = call.page();
        let last = total.div_ceil(size).max(1);
        let tail = call.path.splitn(5, '/').nth(4).unwrap_or_default();
        let tail = match call.path.strip_prefix("/repositories/") {
            Some(rest) => rest.split_once('/').map_or("", |(_, tail)| tail),
            None => tail,
        };
        let link = |number: usize, rel: &str| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(call.query.iter().filter(|(name, _)| name != "page"));
            let query = query.append_pair("page", &number.to_string()).finish();
            let base = &call.base;
            format!("<{base}/repositories/{repo_id}/{tail}?{query}>; rel=\"{rel}\"")
        };
        let mut links = Vec::new();
        if page > 1 {
            links.push(link(page - 1, "prev"));
        }
        if page < last {
            links.push(link(page + 1, "next"));
            links.push(link(last, "last"));
        }
        if page > 1 {
            links.push(link(1, "first"));
        }
        if links.is_empty() {
            self
        } else {
            self.header("link", &links.join(", "))
        }
    }
}
