# mmq_embed(TARGET FILE SYMBOL): the file's bytes become part of the target, as
#   const unsigned char SYMBOL[]; const size_t SYMBOL_size;
# Run as a script (cmake -P) it writes the C file, so that a build needs nothing but CMake.
if(CMAKE_SCRIPT_MODE_FILE)
  file(READ ${MMQ_FILE} bytes HEX)
  string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  file(WRITE ${MMQ_OUTPUT} "#include <stddef.h>\n\n"
    "extern const unsigned char ${MMQ_SYMBOL}[];\nextern const size_t ${MMQ_SYMBOL}_size;\n\n"
    "const unsigned char ${MMQ_SYMBOL}[] = {\n${bytes}\n};\n"
    "const size_t ${MMQ_SYMBOL}_size = sizeof ${MMQ_SYMBOL};\n")
  return()
endif()

function(mmq_embed target file symbol)
  set(input ${PROJECT_SOURCE_DIR}/${file})
  set(output ${PROJECT_BINARY_DIR}/embed/${symbol}.c)
  set(script ${PROJECT_SOURCE_DIR}/cmake/embed.cmake)
  add_custom_command(OUTPUT ${output} DEPENDS ${input} ${script} VERBATIM
    COMMAND ${CMAKE_COMMAND} -DMMQ_FILE=${input} -DMMQ_OUTPUT=${output} -DMMQ_SYMBOL=${symbol}
      -P ${script})
  target_sources(${target} PRIVATE ${output})
endfunction()
