#include "core/chat/jinja_token_stream.h"

#include <utility>

namespace plumb::jinja {
namespace {

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd:
      return "the end of the template";
    case TokenKind::kBlockEnd:
      return "'%}'";
    case TokenKind::kVariableEnd:
      return "'}}'";
    case TokenKind::kString:
      return "a string";
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return "a number";
    case TokenKind::kName:
    case TokenKind::kOperator:
      return fmt::format("'{}'", token.text);
    default:
      return "text";
  }
}

}  // namespace

const Token& TokenStream::take() {
  const Token& token = peek();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenStream::at_name(std::string_view name, size_t ahead) const {
  return peek(ahead).kind == TokenKind::kName && peek(ahead).text == name;
}

bool TokenStream::at_operator(std::string_view op, size_t ahead) const {
  return peek(ahead).kind == TokenKind::kOperator && peek(ahead).text == op;
}

bool TokenStream::skip_name(std::string_view name) {
  if (!at_name(name)) return false;
  take();
  return true;
}

bool TokenStream::skip_operator(std::string_view op) {
  if (!at_operator(op)) return false;
  take();
  return true;
}

void TokenStream::expect_name(std::string_view name) {
  if (!skip_name(name)) fail_expected(fmt::format("'{}'", name));
}

void TokenStream::expect_operator(std::string_view op) {
  if (!skip_operator(op)) fail_expected(fmt::format("'{}'", op));
}

void TokenStream::expect_kind(TokenKind wanted, std::string_view what) {
  if (kind() != wanted) fail_expected(fmt::format("'{}'", what));
  take();
}

std::string TokenStream::expect_any_name() {
  if (kind() != TokenKind::kName) fail_expected("a name");
  return take().text;
}

void TokenStream::fail_at(int line, std::string message) const {
  throw Failure{std::move(message), line};
}

void TokenStream::fail_expected(std::string_view what) const {
  fail_here(fmt::format("found {}, expected {}", describe(peek()), what));
}

}  // namespace plumb::jinja
