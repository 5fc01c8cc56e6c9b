# mmq_page(TARGET FOLDER...): the page's files (clients/page) become part of the target, each as it is and packed by
# gzip, as a table of clients/http/page_files.h. A file's tag is of its bytes, so it is another one when they are.
# Run as a script (cmake -P) it writes the C file; beside CMake a build needs gzip, as the manual pages do.
if(CMAKE_SCRIPT_MODE_FILE)
  set(type_html "text/html; charset=UTF-8")
  set(type_css "text/css; charset=UTF-8")
  set(type_js "text/javascript; charset=UTF-8")
  set(type_svg "image/svg+xml")

  # The file's bytes as the array NAME.
  function(append_array file name)
    file(READ ${file} bytes HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
    file(APPEND ${MMQ_OUTPUT} "static const unsigned char ${name}[] = {${bytes}};\n")
  endfunction()

  set(table "")
  file(WRITE ${MMQ_OUTPUT} "#include \"clients/http/page_files.h\"\n\n")
  list(SORT MMQ_FILES)
  foreach(file ${MMQ_FILES})
    get_filename_component(name ${file} NAME)
    get_filename_component(kind ${file} LAST_EXT)
    string(SUBSTRING ${kind} 1 -1 kind)
    if(NOT DEFINED type_${kind})
      message(FATAL_ERROR "${file}: no content type is known for .${kind}")
    endif()
    file(SHA256 ${file} tag)
    string(SUBSTRING ${tag} 0 16 tag)
    string(MAKE_C_IDENTIFIER ${name} symbol)
    set(packed ${MMQ_OUTPUT}.gz)
    execute_process(COMMAND gzip -9nc ${file} OUTPUT_FILE ${packed} COMMAND_ERROR_IS_FATAL ANY)
    append_array(${file} plain_${symbol})
    append_array(${packed} packed_${symbol})
    file(REMOVE ${packed})
    string(APPEND table "    {\"${name}\", \"${type_${kind}}\", \"${tag}\", {plain_${symbol}, sizeof plain_${symbol}},\n"
      "     {packed_${symbol}, sizeof packed_${symbol}}},\n")
  endforeach()
  list(LENGTH MMQ_FILES count)
  file(APPEND ${MMQ_OUTPUT} "\nconst mmq_page_file mmq_page_files[] = {\n${table}};\n"
    "const size_t mmq_page_file_count = ${count};\n")
  return()
endif()

function(mmq_page target)
  set(files "")
  foreach(folder ${ARGN})
    file(GLOB found CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.html ${PROJECT_SOURCE_DIR}/${folder}/*.css
      ${PROJECT_SOURCE_DIR}/${folder}/*.js ${PROJECT_SOURCE_DIR}/${folder}/*.svg)
    list(APPEND files ${found})
  endforeach()
  set(output ${PROJECT_BINARY_DIR}/embed/page_files.c)
  set(script ${PROJECT_SOURCE_DIR}/cmake/page.cmake)
  add_custom_command(OUTPUT ${output} DEPENDS ${files} ${script} VERBATIM
    COMMAND ${CMAKE_COMMAND} "-DMMQ_FILES=${files}" -DMMQ_OUTPUT=${output} -P ${script})
  target_sources(${target} PRIVATE ${output})
endfunction()
