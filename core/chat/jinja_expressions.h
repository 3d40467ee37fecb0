// The expression half of the parser: operators in jinja_expressions.cpp; what follows a value -
// attributes, calls, filters, tests - in jinja_postfix.cpp.
#pragma once

#include <initializer_list>
#include <string_view>

#include "core/chat/jinja_ast.h"
#include "core/chat/jinja_token_stream.h"

namespace plumb::jinja {

// One or two children.
std::vector<ExprPtr> parts_of(ExprPtr a, ExprPtr b = nullptr);

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
