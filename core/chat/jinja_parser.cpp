#include "core/chat/jinja_parser.h"

#include <algorithm>
#include <initializer_list>

#include "core/chat/jinja_expressions.h"

namespace plumb::jinja {
namespace {

using Names = std::initializer_list<std::string_view>;

class Parser {
 public:
  explicit Parser(std::string_view source) : stream_(tokenize(source)), expressions_(stream_) {}

  Body run() {
    Body body = parse_body({});
    return body;
  }

 private:
  // Until one of the tags in `ends`, which is left as the current token.
  Body parse_body(Names ends) {
    Nesting nesting(stream_);
    Body body;
    while (stream_.kind() != TokenKind::kEnd) {
      const int line = stream_.line();
      if (stream_.kind() == TokenKind::kData) {
        Statement& text = body.emplace_back(make(StatementKind::kText, line));
        text.text = stream_.take().text;
      } else if (stream_.kind() == TokenKind::kVariableBegin) {
        stream_.take();
        Statement output = make(StatementKind::kOutput, line);
        output.value = expressions_.tuple();
        stream_.expect_kind(TokenKind::kVariableEnd, "}}");
        body.push_back(std::move(output));
      } else {
        stream_.take();  // {%
        for (const std::string_view end : ends)
          if (stream_.at_name(end)) return body;
        body.push_back(parse_statement());
        stream_.expect_kind(TokenKind::kBlockEnd, "%}");
      }
    }
    if (ends.size() > 0)
      stream_.fail_here(
          fmt::format("the template ends inside a block, expected '{}'", *(ends.end() - 1)));
    return body;
  }

  // After a statement's head: its %}, its body, and the end tag's name left as current.
  Body block(Names ends) {
    stream_.skip_operator(":");
    stream_.expect_kind(TokenKind::kBlockEnd, "%}");
    return parse_body(ends);
  }
  Body block_to(std::string_view end) {
    Body body = block({end});
    stream_.take();
    return body;
  }

  static Statement make(StatementKind kind, int line) {
    Statement statement;
    statement.kind = kind;
    statement.line = line;
    return statement;
  }

  Statement parse_statement() {
    if (stream_.kind() != TokenKind::kName) stream_.fail_here("expected the name of a statement");
    const int line = stream_.line();
    const std::string tag = stream_.take().text;
    if (tag == "if") return parse_if(line);
    if (tag == "for") return parse_for(line);
    if (tag == "set") return parse_set(line);
    if (tag == "macro") return parse_macro(line);
    if (tag == "call") return parse_call_block(line);
    if (tag == "filter") return parse_filter_block(line);
    if (tag == "with") return parse_with(line);
    if (tag == "generation") return parse_generation(line);
    if (tag == "break" || tag == "continue") {
      if (loops_ == 0) stream_.fail_at(line, fmt::format("'{}' outside a loop", tag));
      return make(tag == "break" ? StatementKind::kBreak : StatementKind::kContinue, line);
    }
    for (const std::string_view known :
         {"include", "import", "from", "extends", "block", "autoescape", "print"})
      if (tag == known)
        stream_.fail_at(line, fmt::format("the statement '{}' is not supported", tag));
    stream_.fail_at(line, fmt::format("unknown or misplaced statement '{}'", tag));
  }

  Statement parse_if(int line) {
    Statement statement = make(StatementKind::kIf, line);
    for (;;) {
      Branch& branch = statement.branches.emplace_back();
      branch.test = expressions_.tuple({}, false);
      branch.body = block({"elif", "else", "endif"});
      const std::string tag = stream_.take().text;
      if (tag == "elif") continue;
      if (tag == "else") statement.otherwise = block_to("endif");
      return statement;
    }
  }

  Statement parse_for(int line) {
    Statement statement = make(StatementKind::kFor, line);
    ++for_depth_;
    statement.target = target({"in"}, false);
    stream_.expect_name("in");
    statement.value = expressions_.tuple({"recursive"}, false);
    if (stream_.skip_name("if")) statement.condition = expressions_.expression();
    if (stream_.at_name("recursive")) stream_.fail_here("recursive loops are not supported");
    ++loops_;
    statement.body = block({"endfor", "else"});
    --loops_;
    if (stream_.take().text == "else") statement.otherwise = block_to("endfor");
    --for_depth_;
    return statement;
  }

  // Names, tuples of them, and `namespace.attribute` where allowed.
  ExprPtr target(Names ends, bool with_namespace) {
    ExprPtr target = expressions_.target(ends, with_namespace);
    check_target(*target);
    return target;
  }

  void check_target(const Expr& target) const {
    switch (target.kind) {
      case ExprKind::kNamespaceRef:
        return;
      case ExprKind::kName:
        if (target.name == "loop" && for_depth_ > 0)
          stream_.fail_at(target.line, "'loop' cannot be assigned to inside a loop");
        return;
      case ExprKind::kTuple:
        for (const ExprPtr& part : target.parts) check_target(*part);
        return;
      default:
        stream_.fail_at(target.line, "cannot assign to this expression");
    }
  }

  Statement parse_set(int line) {
    Statement statement = make(StatementKind::kSet, line);
    statement.target = target({}, true);
    if (stream_.skip_operator("=")) {
      statement.value = expressions_.tuple();
      return statement;
    }
    statement.kind = StatementKind::kSetBlock;
    statement.filter = expressions_.filters(nullptr);
    statement.body = block_to("endset");
    return statement;
  }

  // A macro's body is a function of its own: no break out of it into a loop around it.
  void parse_function(Statement* statement, std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    expressions_.open_signature(statement->signature.get());
    statement->body = block_to(end);
    expressions_.close_signature();
    loops_ = loops;
  }

  Statement parse_macro(int line) {
    Statement statement = make(StatementKind::kMacro, line);
    statement.signature = std::make_shared<Signature>();
    statement.signature->name = stream_.expect_any_name();
    if (statement.signature->name == "loop" && for_depth_ > 0)
      stream_.fail_at(line, "'loop' cannot be assigned to inside a loop");
    expressions_.signature(statement.signature.get());
    parse_function(&statement, "endmacro");
    if (const auto& s = *statement.signature;
        s.uses_caller && std::count(s.parameters.begin(), s.parameters.end(), "caller") > 0)
      stream_.fail_at(line, "a parameter named 'caller' is not supported");
    return statement;
  }

  Statement parse_call_block(int line) {
    Statement statement = make(StatementKind::kCallBlock, line);
    statement.signature = std::make_shared<Signature>();
    statement.signature->name = "caller";
    if (stream_.at_operator("(")) expressions_.signature(statement.signature.get());
    statement.value = expressions_.expression();
    if (statement.value->kind != ExprKind::kCall)
      stream_.fail_at(line, "expected a call after 'call'");
    parse_function(&statement, "endcall");
    return statement;
  }

  Statement parse_generation(int line) {
    Statement statement = make(StatementKind::kGeneration, line);
    const int loops = std::exchange(loops_, 0);
    statement.body = block_to("endgeneration");
    loops_ = loops;
    return statement;
  }

  Statement parse_filter_block(int line) {
    Statement statement = make(StatementKind::kFilterBlock, line);
    statement.filter = expressions_.filters(nullptr, true);
    statement.body = block_to("endfilter");
    return statement;
  }

  Statement parse_with(int line) {
    Statement statement = make(StatementKind::kWith, line);
    while (stream_.kind() != TokenKind::kBlockEnd) {
      if (!statement.bindings.empty()) stream_.expect_operator(",");
      ExprPtr name = target({}, false);
      stream_.expect_operator("=");
      ExprPtr value = expressions_.expression();
      statement.bindings.emplace_back(std::move(name), std::move(value));
    }
    statement.body = block_to("endwith");
    return statement;
  }

  TokenStream stream_;
  ExpressionParser expressions_;
  int loops_ = 0;      // that a break could leave
  int for_depth_ = 0;  // of any kind
};

}  // namespace

Body parse_template(std::string_view source) { return Parser(source).run(); }

}  // namespace plumb::jinja
