// A parser's view of the tokens: look, take, expect.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "core/chat/jinja_lexer.h"
#include "core/chat/jinja_runtime.h"

namespace plumb::jinja {

class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek(size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  TokenKind kind() const { return peek().kind; }
  int line() const { return peek().line; }
  const Token& take();
  bool at_name(std::string_view name, size_t ahead = 0) const;
  bool at_operator(std::string_view op, size_t ahead = 0) const;
  bool skip_name(std::string_view name);
  bool skip_operator(std::string_view op);
  void expect_name(std::string_view name);
  void expect_operator(std::string_view op);
  void expect_kind(TokenKind kind, std::string_view what);
  std::string expect_any_name();

  [[noreturn]] void fail_at(int line, std::string message) const;
  [[noreturn]] void fail_here(std::string message) const { fail_at(line(), std::move(message)); }
  [[noreturn]] void fail_expected(std::string_view what) const;

 private:
  friend class Nesting;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
};

// Counts blocks and brackets inside each other while the parser recurses.
class Nesting {
 public:
  explicit Nesting(TokenStream& stream) : stream_(stream) {
    if (++stream_.depth_ > kMaxNesting)
      stream_.fail_here(fmt::format("nested deeper than {} levels", kMaxNesting));
  }
  ~Nesting() { --stream_.depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  TokenStream& stream_;
};

}  // namespace plumb::jinja
