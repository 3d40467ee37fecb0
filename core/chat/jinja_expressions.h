// The expression half of the parser.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "core/chat/jinja_ast.h"
#include "core/chat/jinja_lexer.h"

namespace plumb::jinja {

class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
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

class ExpressionParser {
 public:
  using Names = std::initializer_list<std::string_view>;

  // REQUIRES `stream` outlives this.
  explicit ExpressionParser(TokenStream& stream) : stream_(stream) {}

  ExprPtr expression(bool with_conditional = true);
  // One expression, or a tuple without parentheses; `ends` are names that end it.
  ExprPtr tuple(Names ends = {}, bool with_conditional = true, bool parenthesised = false);
  ExprPtr target(Names ends, bool with_namespace);
  // `| filter | filter` on `value`; with `inline_start` the first needs no bar.
  ExprPtr filters(ExprPtr value, bool inline_start = false);
  // (a, b=1)
  void signature(Signature* signature);
  // Names read between these mark the signature: does the body use caller, kwargs, varargs?
  void open_signature(Signature* signature) { open_.push_back(signature); }
  void close_signature() { open_.pop_back(); }

 private:
  ExprPtr make(ExprKind kind, int line, std::vector<ExprPtr> parts = {}) const;
  ExprPtr collect_tuple(Names ends, bool simplified, bool with_conditional, bool parenthesised,
                        bool with_namespace);
  bool tuple_ends(Names ends) const;
  ExprPtr conditional();
  ExprPtr disjunction();
  ExprPtr conjunction();
  ExprPtr negation();
  ExprPtr comparison();
  ExprPtr sum();
  ExprPtr concatenation();
  ExprPtr product();
  ExprPtr power();
  ExprPtr unary(bool with_filter = true);
  ExprPtr primary(bool with_namespace = false);
  ExprPtr name(bool with_namespace);
  ExprPtr list();
  ExprPtr dict();
  ExprPtr postfix(ExprPtr value);
  ExprPtr filter_chain(ExprPtr value);
  ExprPtr subscript(ExprPtr object);
  ExprPtr call(ExprPtr callee);
  ExprPtr test(ExprPtr value);
  std::unique_ptr<CallArguments> arguments();
  void argument(CallArguments* arguments);
  ExprPtr with_arguments(ExprPtr node, std::unique_ptr<CallArguments> arguments) const;
  bool starts_test_argument() const;

  TokenStream& stream_;
  std::vector<Signature*> open_;
};

}  // namespace plumb::jinja
